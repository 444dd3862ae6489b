#pragma once
#include "core/unicorn/unicorn_cpu.h"

namespace vpc::unicorn {

/// Direct: a view of the live state. Otherwise a copy of it, which `commit` writes back.
class UnicornCpu::Session {
  public:
    explicit Session(UnicornCpu& cpu) : cpu_(cpu) {
        if (cpu.env_ != nullptr) {
            state_ = EngineState(cpu.facts_.layout, cpu.env_);
            return;
        }
        uc_context_save(cpu.uc_, cpu.context_);
        state_ = EngineState(cpu.facts_.layout,
                             reinterpret_cast<std::uint8_t*>(cpu.context_) + cpu.facts_.layout.context_header);
    }
    EngineState& operator*() { return state_; }
    EngineState* operator->() { return &state_; }
    void commit() {
        if (cpu_.env_ == nullptr) {
            uc_context_restore(cpu_.uc_, cpu_.context_);
        }
    }

  private:
    UnicornCpu& cpu_;
    EngineState state_;
};

}  // namespace vpc::unicorn
