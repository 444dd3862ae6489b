// Runs one operation of the disk module, or a load on a disk, in a process of its own and prints one line of JSON:
// seconds with everything synced, and the process's peak memory. bench_disk.py compares that with other programs. With
// VPC_BENCH_CANCEL=MS in the environment an operation is asked to stop after so many milliseconds.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "disk/operations/check.h"
#include "disk/operations/compact.h"
#include "disk/operations/compare.h"
#include "disk/operations/convert.h"
#include "disk/operations/create.h"
#include "disk/operations/merge.h"
#include "disk/operations/resize.h"

namespace {

using vpc::disk::Buffer;
using vpc::disk::ConstBuffer;
using vpc::disk::Status;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kRequest = 4096;

double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Listens to an operation: percent done and the time of each report, for how true the progress is; and stops it where
/// the environment says so, for how long that takes.
class Watch {
  public:
    Watch() {
        if (const char* after = std::getenv("VPC_BENCH_CANCEL")) {
            const std::chrono::milliseconds delay(std::stoul(after));
            canceller_ = std::jthread([this, delay](const std::stop_token& ended) {
                while (Clock::now() < start_ + delay && !ended.stop_requested()) {
                    std::this_thread::sleep_for(std::chrono::milliseconds(1));
                }
                stopped_ = Clock::now();
                stop_.request_stop();
            });
        }
    }
    vpc::disk::Operation operation() {
        return {.progress =
                    [this](const vpc::disk::Progress& progress) {
                        reports_.emplace_back(seconds_since(start_), 100.0 * static_cast<double>(progress.done) /
                                                                         static_cast<double>(progress.total));
                    },
                .stop = stop_.get_token()};
    }
    /// Prints what there is to be said when the operation has returned; the program's exit status.
    int finish(const Status& status);

  private:
    /// The largest distance between the percentage reported and the part of the time that had passed.
    double worst(double seconds) const {
        double worst = 0;
        for (const auto& [time, percent] : reports_) {
            worst = std::max(worst, std::abs(percent - 100.0 * time / seconds));
        }
        return worst;
    }
    double longest_gap() const {
        double gap = 0;
        for (std::size_t i = 1; i < reports_.size(); ++i) {
            if (reports_[i].second - reports_[i - 1].second < 1) {
                gap = std::max(gap, reports_[i].first - reports_[i - 1].first);
            }
        }
        return gap;
    }

    Clock::time_point start_ = Clock::now();
    std::vector<std::pair<double, double>> reports_;
    std::stop_source stop_;
    Clock::time_point stopped_;
    std::jthread canceller_;
};

/// The most memory this process has had, in KiB. Not getrusage(), which counts what the program that started this one
/// had before exec.
unsigned long peak_memory() {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);) {
        if (line.starts_with("VmHWM:")) {
            return std::stoul(line.substr(6));
        }
    }
    return 0;
}

int failed(const vpc::disk::Error& error) {
    std::fprintf(stderr, "%s\n", error.message.c_str());
    return 1;
}

int finish(const Status& status, double seconds) {
    if (!status) {
        return failed(status.error());
    }
    std::printf("{\"seconds\": %.6f, \"peak_kib\": %lu}\n", seconds, peak_memory());
    return 0;
}

int Watch::finish(const Status& status) {
    const double seconds = seconds_since(start_);
    const auto now = Clock::now();
    if (canceller_.joinable()) {
        canceller_.request_stop();
        canceller_.join();
    }
    if (!status && status.error().code == vpc::disk::ErrorCode::Cancelled) {
        std::printf("{\"seconds\": %.6f, \"cancelled_ms\": %.1f, \"peak_kib\": %lu}\n", seconds,
                    std::chrono::duration<double, std::milli>(now - stopped_).count(), peak_memory());
        return 0;
    }
    if (!status) {
        return failed(status.error());
    }
    std::printf("{\"seconds\": %.6f, \"peak_kib\": %lu, \"progress_error\": %.2f, \"longest_silence\": %.3f}\n",
                seconds, peak_memory(), worst(seconds), longest_gap());
    return 0;
}

template <typename T>
Status status_of(const vpc::disk::Result<T>& result) {
    return result ? Status() : Status(tl::unexpected<vpc::disk::Error>(result.error()));
}

vpc::disk::ImageType type_of(const std::string& name) {
    return name == "raw"     ? vpc::disk::ImageType::Raw
           : name == "fixed" ? vpc::disk::ImageType::Fixed
                             : vpc::disk::ImageType::Dynamic;
}

int create(const std::string& file, const std::string& type, std::uint64_t size) {
    Watch watch;
    return watch.finish(
        vpc::disk::create_image({.file = file, .type = type_of(type), .size = size}, watch.operation()));
}

int reserve(const std::string& file, std::uint64_t size) {
    Watch watch;
    return watch.finish(vpc::disk::create_image(
        {.file = file, .type = vpc::disk::ImageType::Fixed, .size = size, .reserve = true}, watch.operation()));
}

/// Fails unless the image is in order.
int check(const std::string& file) {
    Watch watch;
    const auto report = vpc::disk::check(file, {}, watch.operation());
    if (report && !report->clean()) {
        return failed({.message = file + ": " + report->findings.front().text});
    }
    return watch.finish(status_of(report));
}

int resize(const std::string& file, std::uint64_t size) {
    Watch watch;
    return watch.finish(vpc::disk::resize(file, size, {}, watch.operation()));
}

int create_child(const std::string& file, const std::string& parent) {
    Watch watch;
    return watch.finish(vpc::disk::create_image(
        {.file = file, .type = vpc::disk::ImageType::Differencing, .parent = parent}, watch.operation()));
}

int convert(const std::string& from, const std::string& to, const std::string& type) {
    Watch watch;
    return watch.finish(vpc::disk::convert(from, {.file = to, .type = type_of(type)}, watch.operation()));
}

int compact(const std::string& file) {
    Watch watch;
    return watch.finish(status_of(vpc::disk::compact(file, {}, watch.operation())));
}

int merge(const std::string& child) {
    Watch watch;
    return watch.finish(vpc::disk::merge(child, {}, watch.operation()));
}

/// Fails unless both disks hold the same.
int compare(const std::string& first, const std::string& second) {
    Watch watch;
    const auto result = vpc::disk::compare(first, second, watch.operation());
    if (result && result->first_difference) {
        return failed({.message = first + " and " + second + " differ"});
    }
    return watch.finish(status_of(result));
}

/// Where the n-th request goes: one after the other, or all over the disk, the same places each time.
class Places {
  public:
    Places(std::uint64_t size, bool random, std::uint64_t start = 0, std::uint64_t seed = 1)
        : requests_(size / kRequest), random_(random), count_(start / kRequest), generator_(seed) {}
    std::uint64_t next() { return (random_ ? generator_() % requests_ : count_++ % requests_) * kRequest; }

  private:
    std::uint64_t requests_;
    bool random_;
    std::uint64_t count_;
    std::mt19937_64 generator_;
};

/// `requests` transfers of 4 KiB through the block interface, then a flush. Sequential ones begin at byte `start_byte`;
/// `seed` gives other random places and other contents.
int load_image(const std::string& file, bool random, bool writing, std::uint64_t requests, std::uint64_t start_byte,
               std::uint64_t seed) {
    auto disk = vpc::disk::open_image(file, writing ? vpc::disk::OpenMode::ReadWrite : vpc::disk::OpenMode::ReadOnly);
    if (!disk) {
        return failed(disk.error());
    }
    std::vector<std::uint8_t> bytes(kRequest, static_cast<std::uint8_t>(0x5A + seed));
    Places places((*disk)->sectors() * vpc::disk::kSectorSize, random, start_byte, seed);
    const auto start = Clock::now();
    Status status;
    for (std::uint64_t i = 0; status && i < requests; ++i) {
        const std::uint64_t sector = places.next() / vpc::disk::kSectorSize;
        status = writing ? (*disk)->write(sector, ConstBuffer(bytes)) : (*disk)->read(sector, Buffer(bytes));
    }
    if (status) {
        status = (*disk)->flush();
    }
    return finish(status, seconds_since(start));
}

/// The same with nothing between this program and the host's file.
int load_file(const std::string& file, bool random, bool writing, std::uint64_t requests, std::uint64_t size) {
    const int descriptor = ::open(file.c_str(), writing ? O_RDWR : O_RDONLY);
    std::vector<std::uint8_t> bytes(kRequest, 0x5A);
    Places places(size, random);
    const auto start = Clock::now();
    bool good = descriptor >= 0;
    for (std::uint64_t i = 0; good && i < requests; ++i) {
        const auto offset = static_cast<off_t>(places.next());
        good = (writing ? ::pwrite(descriptor, bytes.data(), kRequest, offset)
                        : ::pread(descriptor, bytes.data(), kRequest, offset)) == static_cast<ssize_t>(kRequest);
    }
    good = good && (!writing || ::fdatasync(descriptor) == 0);
    return finish(good ? Status() : vpc::disk::fail(vpc::disk::ErrorCode::IoError, file + ": the host failed"),
                  seconds_since(start));
}

}  // namespace

int main(int argc, char** argv) {
    const std::vector<std::string> arguments(argv + 1, argv + argc);
    const auto is = [&](const char* name, std::size_t count) {
        return arguments.size() == count + 1 && arguments[0] == name;
    };
    if (is("convert", 3)) {
        return convert(arguments[1], arguments[2], arguments[3]);
    }
    if (is("create", 3)) {
        return create(arguments[1], arguments[2], std::stoull(arguments[3]));
    }
    if (is("reserve", 2)) {
        return reserve(arguments[1], std::stoull(arguments[2]));
    }
    if (is("check", 1)) {
        return check(arguments[1]);
    }
    if (is("resize", 2)) {
        return resize(arguments[1], std::stoull(arguments[2]));
    }
    if (is("child", 2)) {
        return create_child(arguments[1], arguments[2]);
    }
    if (is("compact", 1)) {
        return compact(arguments[1]);
    }
    if (is("merge", 1)) {
        return merge(arguments[1]);
    }
    if (is("compare", 2)) {
        return compare(arguments[1], arguments[2]);
    }
    if (is("image", 4) || is("image", 6)) {
        const bool places = arguments.size() > 5;
        return load_image(arguments[1], arguments[2] == "random", arguments[3] == "write", std::stoull(arguments[4]),
                          places ? std::stoull(arguments[5]) : 0, places ? std::stoull(arguments[6]) : 1);
    }
    if (is("file", 5)) {
        return load_file(arguments[1], arguments[2] == "random", arguments[3] == "write", std::stoull(arguments[4]),
                         std::stoull(arguments[5]));
    }
    std::fprintf(stderr,
                 "usage: disk_bench convert FROM TO raw|fixed|dynamic | create FILE raw|fixed|dynamic SIZE |\n"
                 "       reserve FILE SIZE | check FILE | resize FILE SIZE | child FILE PARENT | compact FILE | merge "
                 "CHILD | compare FILE FILE |\n"
                 "       image FILE sequential|random read|write REQUESTS [START SEED] |\n"
                 "       file FILE sequential|random read|write REQUESTS SIZE\n");
    return 2;
}
