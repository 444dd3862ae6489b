// The machine's thread: posting, halting, quitting. Also the threads that serve it.
#include "core/run_loop.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <ctime>
#include <future>
#include <thread>

#include "core/io_thread.h"
#include "guest.h"

namespace vpc::test {
namespace {

constexpr auto kPatience = std::chrono::seconds(20);

/// A guest in real mode under a run loop of its own, on the host's clock.
class RunLoopTest : public testing::Test {
  protected:
    RunLoopTest() { guest.real_mode(); }
    ~RunLoopTest() override { end(); }

    void begin(std::initializer_list<std::uint8_t> code) {
        guest.code(code);
        guest.cpu->set_state(guest.start);
        thread = std::thread([this] { failure = loop.run(); });
    }
    void end() {
        if (thread.joinable()) {
            loop.quit();
            thread.join();
        }
    }
    /// Runs `work` on the machine's thread and waits for it.
    template <typename Work>
    auto on_machine(Work work) {
        std::promise<decltype(work())> result;
        auto future = result.get_future();
        loop.post([&] { result.set_value(work()); });
        if (future.wait_for(kPatience) != std::future_status::ready) {
            std::abort();  // `result` must not leave scope while the machine may still use it
        }
        return future.get();
    }

    Guest guest;
    VirtualClock clock;
    int acknowledged = 0;
    int shutdowns = 0;
    RunLoop loop{*guest.cpu,
                 clock,
                 {.acknowledge =
                      [this] {
                          ++acknowledged;
                          loop.set_interrupt_request(false);
                          return std::uint8_t{0x50};
                      },
                  .cpu_shutdown =
                      [this] {
                          ++shutdowns;
                          loop.quit();
                      }}};
    std::thread thread;
    std::string failure = "not ended";
};

TEST_F(RunLoopTest, PostsToAMachineThatStandsStillCostNothingAndAreNotLost) {
    begin({0xFA, 0xF4});  // CLI; HLT
    on_machine([] { return true; });
    end();
    std::promise<void> seen;
    loop.post([&] { seen.set_value(); });
    const auto used = [] {
        timespec time{};
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
        return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
    };
    const auto before = used();
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    EXPECT_LT(used() - before, std::chrono::milliseconds(100)) << "the kicker asks for a stop again and again";
    thread = std::thread([this] { failure = loop.run(); });
    EXPECT_EQ(seen.get_future().wait_for(kPatience), std::future_status::ready);
}

TEST_F(RunLoopTest, QuitIsObeyedByAHaltedProcessor) {
    begin({0xFA, 0xF4});  // CLI; HLT
    while (!on_machine([&] { return guest.cpu->halted(); })) {
    }
    end();
    EXPECT_EQ(failure, "");
    EXPECT_TRUE(clock.paused());
}

TEST_F(RunLoopTest, QuitIsObeyedByAnEndlessLoop) {
    begin({0xEB, 0xFE});  // JMP $
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    end();
    EXPECT_EQ(failure, "");
    EXPECT_EQ(guest.state().eip, 0u);
}

TEST_F(RunLoopTest, QuitBeforeTheRunIsNotLost) {
    loop.quit();
    begin({0xEB, 0xFE});
    thread.join();
    EXPECT_EQ(failure, "");
}

TEST_F(RunLoopTest, QuitIsObeyedAtAnyMoment) {
    for (int i = 0; i < 100; ++i) {
        begin({0xEB, 0xFE});
        if (i % 3 != 0) {
            std::this_thread::sleep_for(std::chrono::microseconds(i * 7));
        }
        end();
    }
    EXPECT_EQ(failure, "");
}

TEST_F(RunLoopTest, PostsFromManyThreadsRunInTheirOrder) {
    begin({0xEB, 0xFE});
    constexpr int kThreads = 4;
    constexpr int kPosts = 500;
    std::vector<std::vector<int>> seen(kThreads);
    std::vector<std::thread> posters;
    for (std::size_t t = 0; t < kThreads; ++t) {
        posters.emplace_back([&, t] {
            for (int i = 0; i < kPosts; ++i) {
                loop.post([&seen, t, i] { seen[t].push_back(i); });
            }
        });
    }
    for (std::thread& poster : posters) {
        poster.join();
    }
    on_machine([] { return 0; });
    for (const std::vector<int>& each : seen) {
        ASSERT_EQ(each.size(), static_cast<std::size_t>(kPosts));
        EXPECT_TRUE(std::is_sorted(each.begin(), each.end()));
    }
}

TEST_F(RunLoopTest, PostWakesAHaltedProcessor) {
    begin({0xFA, 0xF4});
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    bool halted = false;
    while (!halted && std::chrono::steady_clock::now() < deadline) {  // posts may keep it from its first instruction
        halted = on_machine([&] { return guest.cpu->halted(); });
    }
    EXPECT_TRUE(halted);
    for (int i = 0; i < 50; ++i) {
        EXPECT_EQ(on_machine([] { return std::this_thread::get_id(); }), thread.get_id());
    }
    end();
    EXPECT_GT(loop.idle_time(), 0);
}

TEST_F(RunLoopTest, PostedBeforeTheRunRunsFirst) {
    bool ran = false;
    loop.post([&] { ran = true; });
    begin({0xF4});
    on_machine([] { return 0; });
    EXPECT_TRUE(ran);
}

TEST_F(RunLoopTest, PostFromTheMachinesThreadRunsToo) {
    begin({0xF4});
    std::promise<void> done;
    loop.post([&] { loop.post([&] { done.set_value(); }); });
    EXPECT_EQ(done.get_future().wait_for(kPatience), std::future_status::ready);
    end();
}

TEST_F(RunLoopTest, EventWakesAHaltedProcessor) {
    // HLT; each timer event raises the interrupt, whose handler counts.
    VirtualClock::Event tick;
    Nanoseconds next = 0;
    tick = clock.make_event("tick", [&](std::int64_t, Nanoseconds) {
        loop.set_interrupt_request(true);
        tick.schedule(next += kMillisecond);
    });
    tick.schedule(next += kMillisecond);
    guest.store(handler_of(0x50), {0xFF, 0x06, 0x00, 0xB0, 0xCF});  // INC WORD [B000h]; IRET
    begin({0xFB, 0xF4, 0xEB, 0xFC});                                // STI; HLT; JMP
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (on_machine([&] { return guest.load16(kData); }) < 20 && std::chrono::steady_clock::now() < deadline) {
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    end();
    EXPECT_GE(guest.load16(kData), 20);
    EXPECT_GE(acknowledged, guest.load16(kData));
}

TEST_F(RunLoopTest, EventInterruptsAnEndlessLoop) {
    auto once = clock.make_event("once", [&](std::int64_t, Nanoseconds) { loop.set_interrupt_request(true); });
    once.schedule(5 * kMillisecond);
    begin({0xFB, 0xEB, 0xFE});  // STI; JMP $
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (!on_machine([&] { return guest.cpu->halted(); }) && std::chrono::steady_clock::now() < deadline) {
        std::this_thread::yield();
    }
    end();
    EXPECT_EQ(guest.handler(), 0x50);
    EXPECT_EQ(acknowledged, 1);
}

TEST_F(RunLoopTest, EventThatTheGuestSchedulesInItsLoopIsNotLate) {
    Nanoseconds lateness = -1;
    auto event = clock.make_event("event", [&](std::int64_t, Nanoseconds late) {
        lateness = late;
        loop.quit();
    });
    const auto claim = guest.ports.claim(
        {.owner = "timer", .first = 0x80, .count = 1},
        {.read = {},
         .write = [&](std::uint16_t, std::uint32_t, unsigned) { event.schedule(clock.now() + 2 * kMillisecond); },
         .peek = {}});
    begin({0xE6, 0x80, 0xEB, 0xFE});  // OUT 80h,AL; JMP $
    thread.join();
    EXPECT_GE(lateness, 0);
    EXPECT_LT(lateness, kSecond);
}

TEST_F(RunLoopTest, NonMaskableInterruptIsDelivered) {
    begin({0xFA, 0xEB, 0xFE});  // CLI; JMP $
    on_machine([&] {
        loop.raise_nmi();
        return 0;
    });
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (!on_machine([&] { return guest.cpu->halted(); }) && std::chrono::steady_clock::now() < deadline) {
        std::this_thread::yield();
    }
    end();
    EXPECT_EQ(guest.handler(), 2);
}

TEST_F(RunLoopTest, ShutdownIsReported) {
    guest.start.idtr.limit = 0;
    begin({0xCD, 0x21});
    thread.join();
    EXPECT_EQ(shutdowns, 1);
    EXPECT_EQ(failure, "");
}

TEST_F(RunLoopTest, RunsAgainAfterQuit) {
    begin({0x40, 0xEB, 0xFD});  // INC AX; JMP
    end();
    thread = std::thread([this] { failure = loop.run(); });
    EXPECT_FALSE(on_machine([&] { return clock.paused(); }));
    end();
    EXPECT_EQ(failure, "");
}

TEST(Kicker, KicksRepeatedlyUntilDisarmed) {
    std::atomic<int> kicks = 0;
    Kicker kicker([&] { ++kicks; });
    kicker.arm(VirtualClock::steady_host_time() + kMillisecond);
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (kicks < 5 && std::chrono::steady_clock::now() < deadline) {
        std::this_thread::yield();
    }
    EXPECT_GE(kicks, 5);
    kicker.disarm();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    const int after = kicks;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_EQ(kicks, after);
}

TEST(Kicker, EarlierTimeReplacesALaterOne) {
    std::atomic<int> kicks = 0;
    Kicker kicker([&] { ++kicks; });
    kicker.arm(VirtualClock::steady_host_time() + 3600 * kSecond);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_EQ(kicks, 0);
    kicker.arm(VirtualClock::steady_host_time());
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (kicks == 0 && std::chrono::steady_clock::now() < deadline) {
        std::this_thread::yield();
    }
    EXPECT_GT(kicks, 0);
}

TEST(IoThread, WorkRunsElsewhereAndCompletionsArePosted) {
    std::vector<int> order;
    std::mutex mutex;
    std::vector<std::function<void()>> posted;
    std::thread::id worker;
    {
        IoThread io([&](std::function<void()> completion) {
            const std::scoped_lock guard(mutex);
            posted.push_back(std::move(completion));
        });
        for (int i = 0; i < 100; ++i) {
            io.submit([&] { worker = std::this_thread::get_id(); }, [&order, i] { order.push_back(i); });
        }
    }  // finishes what was submitted
    EXPECT_NE(worker, std::this_thread::get_id());
    ASSERT_EQ(posted.size(), 100u);
    for (const auto& completion : posted) {
        completion();
    }
    EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
    EXPECT_EQ(order.size(), 100u);
}

TEST_F(RunLoopTest, CompletionsReachTheMachinesThread) {
    begin({0xFA, 0xF4});
    IoThread io([this](std::function<void()> completion) { loop.post(std::move(completion)); });
    std::promise<std::thread::id> where;
    io.submit([] {}, [&] { where.set_value(std::this_thread::get_id()); });
    auto future = where.get_future();
    ASSERT_EQ(future.wait_for(kPatience), std::future_status::ready);
    EXPECT_EQ(future.get(), thread.get_id());
}

// A disk's commands one after the other, most of which both threads await awake, some asleep; none may be missed.
TEST_F(RunLoopTest, AHaltedMachineAndAnIoThreadWakeEachOther) {
    constexpr int kRounds = 20'000;
    constexpr int kPauseEvery = 1000;
    begin({0xFA, 0xF4});
    IoThread io([this](std::function<void()> completion) { loop.post(std::move(completion)); });
    std::promise<void> done;
    int rounds = 0;
    std::function<void()> next = [&] {
        if (++rounds == kRounds) {
            done.set_value();
            return;
        }
        const bool slow = rounds % kPauseEvery == 0;
        io.submit(
            [slow] {
                if (slow) {
                    std::this_thread::sleep_for(std::chrono::nanoseconds(2 * ShortWait::kShort));
                }
            },
            next);
    };
    loop.post(next);
    const auto status = done.get_future().wait_for(kPatience);
    end();
    EXPECT_EQ(status, std::future_status::ready) << "stuck at " << rounds;
}

}  // namespace
}  // namespace vpc::test
