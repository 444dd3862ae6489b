#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <ostream>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/device.h"
#include "core/line.h"
#include "core/physical_memory.h"
#include "core/port_bus.h"
#include "core/state_stream.h"
#include "core/virtual_clock.h"

namespace vpc::devices::test {

/// Everything a chip needs around it, and nothing else: its own buses and a clock that is moved by hand. Also the
/// fixture of the chips' own tests.
class Bench {
  public:
    Bench() : memory(1 << 20), clock([this] { return host_time; }) { clock.resume(); }
    Bench(const Bench&) = delete;
    Bench& operator=(const Bench&) = delete;
    ~Bench() {
        while (!parts_.empty()) {  // what was added last may use what came before
            parts_.pop_back();
        }
    }

    Nanoseconds host_time = 0;
    PortBus ports;
    PhysicalMemory memory;
    VirtualClock clock;

    /// Builds a part that lives as long as the bench.
    template <typename T, typename... Arguments>
    T& add(Arguments&&... arguments) {
        auto part = std::make_shared<T>(std::forward<Arguments>(arguments)...);
        T& result = *part;
        parts_.push_back(std::move(part));
        return result;
    }
    /// As add; the part is saved, loaded and reset together with the clock.
    template <typename T, typename... Arguments>
    T& add_device(Arguments&&... arguments) {
        T& device = add<T>(std::forward<Arguments>(arguments)...);
        devices.push_back(&device);
        return device;
    }
    std::vector<Device*> devices;

    std::uint32_t in(std::uint16_t port, unsigned size = 1) { return ports.read(port, size); }
    void out(std::uint16_t port, std::uint32_t value, unsigned size = 1) { ports.write(port, value, size); }

    /// Moves time and runs what came due on arrival, as a busy host does.
    void advance(Nanoseconds span) {
        host_time += span;
        clock.run_due();
    }
    /// Moves time from event to event, as an idle host does.
    void run_for(Nanoseconds span) {
        const Nanoseconds end = host_time + span;
        for (auto next = clock.next_deadline(); next && *next - clock.now() + host_time <= end;
             next = clock.next_deadline()) {
            advance(std::max<Nanoseconds>(*next - clock.now(), 0));
        }
        advance(end - host_time);
    }

    std::vector<std::uint8_t> save_devices() const {
        StateStream stream = StateStream::saver();
        for (Device* device : devices) {
            device->serialize(stream);
        }
        return stream.bytes();
    }
    void load_devices(std::span<const std::uint8_t> bytes) {
        StateStream stream = StateStream::loader(bytes);
        for (Device* device : devices) {
            device->serialize(stream);
        }
    }
    std::vector<std::uint8_t> save() {
        StateStream stream = StateStream::saver();
        clock.serialize(stream);
        for (Device* device : devices) {
            device->serialize(stream);
        }
        return stream.bytes();
    }
    void load(std::span<const std::uint8_t> bytes) {
        StateStream stream = StateStream::loader(bytes);
        clock.serialize(stream);
        for (Device* device : devices) {
            device->serialize(stream);
        }
    }

  private:
    std::deque<std::shared_ptr<void>> parts_;
};

/// A line that remembers what happened on it.
struct Probe {
    bool level = false;
    unsigned rises = 0;
    Line line() {
        return Line([this](bool value) {
            level = value;
            rises += value ? 1u : 0u;
        });
    }
};

/// One chip (or a few wired together) to be put through the conformance tests.
///
///     INSTANTIATE_TEST_SUITE_P(Ide, DeviceConformance, testing::Values(Subject{
///         .name = "PiixIde", .ports = {{0x1F0, 8}, {0x3F6, 1}},
///         .build = [](Bench& bench) { bench.add_device<PiixIde>(bench.ports, bench.clock, ...); }}),
///         subject_name);
///
/// Instances may stand in any source file; the tests themselves are in conformance.cpp.
struct Subject {
    struct Ports {
        std::uint16_t first = 0;
        std::uint16_t count = 0;
    };
    std::string name;                   ///< letters and digits only
    std::vector<Ports> ports;           ///< what to hammer
    std::function<void(Bench&)> build;  ///< adds the parts; called for each new bench
    /// Input from outside the guest (keys, line levels), drawn from `random` only. May be empty.
    std::function<void(Bench&, std::mt19937&)> stimulate = {};
    /// False for a chip whose future depends on more than its state, the clock and memory (a host file, a thread).
    bool deterministic = true;
};

inline std::ostream& operator<<(std::ostream& stream, const Subject& subject) {
    return stream << subject.name;
}

inline std::string subject_name(const testing::TestParamInfo<Subject>& info) {
    return info.param.name;
}

/// Does `count` random things to the ports, with time passing in between. Returns a hash of everything that was read.
inline std::uint64_t hammer(Bench& bench, const Subject& subject, std::mt19937& random, unsigned count) {
    static constexpr std::array<unsigned, 4> kSizes = {1, 1, 2, 4};
    std::uint64_t hash = 0xCBF29CE484222325;
    for (unsigned i = 0; i < count; ++i) {
        const auto action = random() % 16;
        const Subject::Ports range = subject.ports[random() % subject.ports.size()];
        const auto port = static_cast<std::uint16_t>(range.first + random() % range.count);
        const unsigned size = kSizes[random() % kSizes.size()];
        if (action < 7) {
            hash = (hash ^ bench.in(port, size)) * 0x100000001B3;
        } else if (action < 14) {
            bench.out(port, static_cast<std::uint32_t>(random()), size);
        } else if (action == 14 || !subject.stimulate) {
            bench.advance(static_cast<Nanoseconds>(random() % (1u << (random() % 24))));
        } else {
            subject.stimulate(bench, random);
        }
    }
    return hash;
}

class DeviceConformance : public testing::TestWithParam<Subject> {
  protected:
    std::unique_ptr<Bench> make_bench() const {
        auto bench = std::make_unique<Bench>();
        GetParam().build(*bench);
        return bench;
    }
    std::uint64_t hammer(Bench& bench, unsigned count) { return test::hammer(bench, GetParam(), random, count); }

    std::mt19937 random{0x5650'4321};
};

}  // namespace vpc::devices::test
