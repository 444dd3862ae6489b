#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "core/cpu.h"
#include "core/kicker.h"
#include "core/short_wait.h"
#include "core/virtual_clock.h"

namespace vpc {

class StateStream;

/// The life of a running machine: deliver what is due, run the CPU, handle why it stopped. `run` is the machine's
/// thread; everything of the machine is touched there and nowhere else. Other threads post closures.
class RunLoop {
  public:
    struct Hooks {
        /// The interrupt acknowledge cycle: the vector of the most urgent request.
        std::function<std::uint8_t()> acknowledge;
        /// The CPU shut down (triple fault): the board resets.
        std::function<void()> cpu_shutdown;
    };
    RunLoop(Cpu& cpu, VirtualClock& clock, Hooks hooks);
    ~RunLoop();
    RunLoop(const RunLoop&) = delete;
    RunLoop& operator=(const RunLoop&) = delete;

    /// Resumes the clock and runs the machine until `quit`, or until the CPU's engine fails: then the text says why;
    /// it is empty otherwise. The clock is paused afterwards, and `run` may be called again.
    std::string run();

    /// Makes `run` return soon. Any thread.
    void quit();
    /// Runs `work` on the machine's thread, in the order of posting; at the next `run` if none is going on. Any
    /// thread, also the machine's own, where it runs after the present instruction block.
    void post(std::function<void()> work);

    /// The INTR pin of the CPU. Machine's thread.
    void set_interrupt_request(bool asserted);
    /// Latches a non-maskable interrupt. Machine's thread.
    void raise_nmi();

    /// A latched NMI, as one section; the INTR pin belongs to the chip that drives it. Machine's thread, while `run` is
    /// not going on. Posted closures are no state: whoever posts one saves what it is about.
    void serialize(StateStream& stream);

    /// Host nanoseconds spent waiting in HLT so far.
    Nanoseconds idle_time() const { return idle_time_; }

  private:
    void run_posted();
    void wait_while_halted();
    Nanoseconds host_deadline() const;
    void arm_kicker();

    Cpu& cpu_;
    VirtualClock& clock_;
    Hooks hooks_;
    bool interrupt_request_ = false;
    bool nmi_ = false;
    bool in_cpu_ = false;
    bool was_halted_ = false;    // before the present run
    Nanoseconds armed_for_ = 0;  // host time the kicker was armed for, while in_cpu_
    Nanoseconds idle_time_ = 0;

    std::mutex mutex_;
    std::condition_variable wake_;
    std::vector<std::function<void()>> posted_;
    /// Where the machine's thread is, as those who post have to know.
    enum class Place : std::uint8_t {
        Away,      ///< not in run: it will look
        Running,   ///< in the CPU, or about to be: it must be stopped
        Watching,  ///< halted, and it looks all the time
        Sleeping,  ///< halted, and it must be woken up
    };
    Place place_ = Place::Away;  // changed by the machine's thread, with the mutex held
    ShortWait short_wait_;
    std::atomic<bool> has_posted_ = false;
    std::atomic<bool> quit_ = false;
    Kicker kicker_;
};

}  // namespace vpc
