// Runs one operation of the disk module, or a load on a disk, in a process of its own and prints one line of JSON:
// seconds with everything synced, and the process's peak memory. bench_disk.py compares that with other programs.
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "disk/compact.h"
#include "disk/compare.h"
#include "disk/convert.h"

namespace {

using vpc::disk::Buffer;
using vpc::disk::ConstBuffer;
using vpc::disk::Status;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kRequest = 4096;

double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Percent done and the time of each report, for how true the progress is.
struct Reports {
    Clock::time_point start = Clock::now();
    std::vector<std::pair<double, double>> all;

    vpc::disk::Operation operation() {
        return {.progress = [this](const vpc::disk::Progress& progress) {
            all.emplace_back(seconds_since(start),
                             100.0 * static_cast<double>(progress.done) / static_cast<double>(progress.total));
        }};
    }
    /// The largest distance between the percentage reported and the part of the time that had passed.
    double worst() const {
        double worst = 0;
        for (const auto& [time, percent] : all) {
            worst = std::max(worst, std::abs(percent - 100.0 * time / all.back().first));
        }
        return worst;
    }
    double longest_gap() const {
        double gap = 0;
        for (std::size_t i = 1; i < all.size(); ++i) {
            if (all[i].second - all[i - 1].second < 1) {
                gap = std::max(gap, all[i].first - all[i - 1].first);
            }
        }
        return gap;
    }
};

void print_result(double seconds, const Reports* reports) {
    rusage usage = {};
    ::getrusage(RUSAGE_SELF, &usage);
    std::printf("{\"seconds\": %.6f, \"peak_kib\": %ld", seconds, usage.ru_maxrss);
    if (reports != nullptr && !reports->all.empty()) {
        std::printf(", \"progress_error\": %.2f, \"longest_silence\": %.3f", reports->worst(), reports->longest_gap());
    }
    std::printf("}\n");
}

int finish(const Status& status, double seconds, const Reports* reports = nullptr) {
    if (!status) {
        std::fprintf(stderr, "%s\n", status.error().message.c_str());
        return 1;
    }
    print_result(seconds, reports);
    return 0;
}

int convert(const std::string& from, const std::string& to, const std::string& type) {
    const vpc::disk::ConvertTarget target = {.file = to,
                                             .type = type == "raw"     ? vpc::disk::ImageType::Raw
                                                     : type == "fixed" ? vpc::disk::ImageType::Fixed
                                                                       : vpc::disk::ImageType::Dynamic};
    Reports reports;
    const Status status = vpc::disk::convert(from, target, reports.operation());
    return finish(status, seconds_since(reports.start), &reports);
}

int compact(const std::string& file) {
    Reports reports;
    const auto result = vpc::disk::compact(file, {}, reports.operation());
    return finish(result ? Status() : Status(vpc::disk::fail(result.error().code, result.error().message)),
                  seconds_since(reports.start), &reports);
}

/// Where the n-th request goes: one after the other, or all over the disk, the same places each time.
class Places {
  public:
    Places(std::uint64_t size, bool random) : requests_(size / kRequest), random_(random) {}
    std::uint64_t next() { return (random_ ? generator_() % requests_ : count_++ % requests_) * kRequest; }

  private:
    std::uint64_t requests_;
    bool random_;
    std::uint64_t count_ = 0;
    std::mt19937_64 generator_{1};
};

/// `requests` transfers of 4 KiB through the block interface, then a flush.
int load_image(const std::string& file, bool random, bool writing, std::uint64_t requests) {
    auto disk = vpc::disk::open_image(file, writing ? vpc::disk::OpenMode::ReadWrite : vpc::disk::OpenMode::ReadOnly);
    if (!disk) {
        return finish(vpc::disk::fail(disk.error().code, disk.error().message), 0);
    }
    std::vector<std::uint8_t> bytes(kRequest, 0x5A);
    Places places((*disk)->sectors() * vpc::disk::kSectorSize, random);
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
    if (is("compact", 1)) {
        return compact(arguments[1]);
    }
    if (is("image", 4)) {
        return load_image(arguments[1], arguments[2] == "random", arguments[3] == "write", std::stoull(arguments[4]));
    }
    if (is("file", 5)) {
        return load_file(arguments[1], arguments[2] == "random", arguments[3] == "write", std::stoull(arguments[4]),
                         std::stoull(arguments[5]));
    }
    std::fprintf(stderr,
                 "usage: disk_bench convert FROM TO raw|fixed|dynamic | compact FILE |\n"
                 "       image FILE sequential|random read|write REQUESTS |\n"
                 "       file FILE sequential|random read|write REQUESTS SIZE\n");
    return 2;
}
