#pragma once
#include <unicorn/unicorn.h>

#include "core/unicorn/engine_overrides.h"
#include "core/unicorn/engine_probe.h"
#include "guest.h"

namespace vpc::test {

/// The engine itself as a judge: the same memory and processor state as a Guest's, but exceptions, software and
/// hardware interrupts are delivered by the engine's own code (QEMU's), which it exports and never calls.
class EngineReference : public unicorn::OverrideClient {
  public:
    explicit EngineReference(Guest& guest);
    ~EngineReference() override;
    EngineReference(const EngineReference&) = delete;
    EngineReference& operator=(const EngineReference&) = delete;

    /// False when this build of the engine does not export its delivery, or moved the state.
    bool usable() const { return env_ != nullptr && engine_cpu != nullptr; }
    /// Runs from `start` until HLT. What comes back has the fields that deliveries change, the rest as in `start`.
    CpuState run(const CpuState& start);
    /// Delivers a hardware interrupt that meets no fault, and stops before the handler's first instruction.
    CpuState interrupt(const CpuState& start, std::uint8_t vector);

  private:
    std::uint64_t time_stamp(void* env) override;
    void set_time_stamp(std::uint64_t) override {}
    bool time_stamp_forbidden(void*) override { return false; }
    bool port_allowed(void*, std::uint16_t, unsigned) override { return true; }
    unicorn::RepeatedStringResult repeated_string(void*) override { return unicorn::RepeatedStringResult::None; }
    bool sysenter(void*) override { return false; }
    void interrupt_window_may_open() override {}
    void halt() override {}
    void triple_fault() override {}
    void block_translated(const void*) override {}
    void check_floating_point_error(void*) override {}

    void rewind_software_interrupt();
    void put(const CpuState& start);
    CpuState get(const CpuState& start);

    Guest& guest_;
    const unicorn::StateLayout& layout_;
    uc_engine* uc_ = nullptr;
    std::uint8_t* env_ = nullptr;
    void (*do_interrupt_)(void* cpu) = nullptr;
    void (*do_hardware_interrupt_)(void* env, int vector, int hardware) = nullptr;
};

}  // namespace vpc::test
