#pragma once
#include <unicorn/unicorn.h>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "core/cpu.h"
#include "core/unicorn/engine_overrides.h"
#include "core/unicorn/engine_probe.h"
#include "core/unicorn/engine_state.h"
#include "core/unicorn/interrupt_delivery.h"
#include "core/unicorn/memory_map.h"

namespace vpc::unicorn {

/// The CPU interface over one uc_engine. See engine_overrides.h for what is bent and why.
class UnicornCpu final : public Cpu, public OverrideClient {
  public:
    static tl::expected<std::unique_ptr<UnicornCpu>, std::string> make(const CpuModel& model,
                                                                       CpuSurroundings surroundings,
                                                                       const EngineFacts& facts);
    ~UnicornCpu() override;

    CpuExit run() override;
    void request_stop() override;
    void set_interrupt_request(bool asserted) override;
    bool can_take_interrupt() override;
    bool announces_interrupt_window() const override { return facts_.interrupt_window; }
    void deliver_interrupt(std::uint8_t vector) override;
    void deliver_nmi() override;
    void reset() override;
    bool halted() const override { return halted_; }
    void set_a20(bool enabled) override;
    CpuState state() override;
    std::uint32_t general(GeneralRegister which) override;
    void set_general(GeneralRegister which, std::uint32_t value) override;
    void set_state(const CpuState& state) override;
    const CpuStatistics& statistics() const override { return statistics_; }
    std::string failure() const override { return failure_; }

    /// The engine's processor state, for the probe; null unless it is worked on in place.
    const void* live_state() const { return env_; }

  private:
    UnicornCpu(const CpuModel& model, CpuSurroundings surroundings, const EngineFacts& facts);
    std::string open();
    std::string add_hooks();
    std::string capture_state();

    /// The engine's state for editing: live, or a copy that `commit` puts back.
    class Session;

    // Called by the engine's hooks.
    void on_interrupt(std::uint32_t vector);
    std::uint32_t on_port_read(std::uint32_t port, int size);
    void on_port_write(std::uint32_t port, int size, std::uint32_t value);
    void on_cpuid();
    void on_block();

    // OverrideClient
    std::uint64_t time_stamp(void* env) override;
    void set_time_stamp(std::uint64_t value) override;
    bool time_stamp_forbidden(void* env) override;
    bool port_allowed(void* env, std::uint16_t port, unsigned size) override;
    RepeatedStringResult repeated_string(void* env) override;
    bool sysenter(void* env) override;
    void interrupt_window_may_open() override;
    void halt() override { halt_executed_ = facts_.interrupt_window; }
    void triple_fault() override;
    void block_translated(const void* block) override;
    void check_floating_point_error(void* env) override;

    void deliver(EngineState& state, const Event& event);
    void stop_engine();
    void gather_flags();
    bool step_over_shadow();
    CpuExit finish_run(uc_err error);
    std::uint32_t read_eflags() const;
    std::uint32_t read_register(int id) const;

    const CpuModel& model_;
    CpuSurroundings surroundings_;
    EngineFacts facts_;
    uc_engine* uc_ = nullptr;
    uc_context* context_ = nullptr;
    std::uint8_t* env_ = nullptr;  // the live state, when facts_.direct_state
    std::unique_ptr<MemoryMap> map_;
    /// Stores that the processor makes of its own accord, also to page tables.
    const std::function<void(std::uint64_t, std::uint64_t)> stored_ =
        [this](std::uint64_t address, std::uint64_t size) { map_->memory_written(address, size); };
    InterruptDelivery delivery_;

    std::atomic<bool> stop_requested_ = false;
    std::atomic<bool> running_ = false;
    bool halted_ = false;
    bool halt_executed_ = false;
    bool invalid_instruction_ = false;
    bool shutdown_ = false;
    bool engine_stopping_ = false;  // uc_emu_stop was called from inside the run
    const std::function<bool()> stop_wanted_ = [this] { return engine_stopping_ || stop_requested_; };
    bool stepping_ = false;
    std::uint64_t debug_status_ = 0;  // DR6 before a step
    std::uintptr_t first_block_ = 0;  // where the translation buffer begins, as far as seen; 0: empty
    bool buffer_nearly_full_ = false;
    std::uint64_t time_stamp_offset_ = 0;
    CpuStatistics statistics_;
    std::string failure_;
};

}  // namespace vpc::unicorn
