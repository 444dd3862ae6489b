#pragma once
#include <functional>
#include <utility>

namespace vpc {

/// A wire from one output pin to whatever the board connected it to: an interrupt request, a gate, a reset.
///
/// The chip that drives it calls `set`; the other end hears of changes only. A default-made line goes nowhere, so a
/// chip never asks whether its pin is connected. Lines carry levels: whether the receiver acts on the edge or on the
/// level is the receiver's business (the 8259A's ELCR decides it for interrupt requests).
///
/// Level is not saved: after a load each chip drives its lines again from its registers.
class Line {
  public:
    using Sink = std::function<void(bool)>;

    Line() = default;
    explicit Line(Sink sink) : sink_(std::move(sink)) {}

    void set(bool level) {
        if (level == level_) {
            return;
        }
        level_ = level;
        if (sink_) {
            sink_(level);
        }
    }
    /// A low-high-low pulse, for receivers that look at the rising edge.
    void pulse() {
        set(true);
        set(false);
    }
    bool level() const { return level_; }

  private:
    Sink sink_;
    bool level_ = false;
};

}  // namespace vpc
