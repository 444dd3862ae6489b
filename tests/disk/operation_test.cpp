#include "disk/operations/operation.h"

#include <gtest/gtest.h>

#include <random>
#include <thread>
#include <vector>

namespace vpc::disk {
namespace {

struct Reports {
    std::vector<Progress> all;
    std::stop_source stop;
    Operation operation{.progress = [this](const Progress& progress) { all.push_back(progress); },
                        .stop = stop.get_token()};

    bool monotone() const {
        double last = 0;
        for (const Progress& report : all) {
            const double part = static_cast<double>(report.done) / static_cast<double>(report.total);
            if (part < last || part > 1) {
                return false;
            }
            last = part;
        }
        return true;
    }
};

TEST(WorkMeter, ReportsEveryPercentAndAllOfItOnce) {
    Reports reports;
    WorkMeter meter(reports.operation, 1'000'000);
    for (int i = 0; i < 1000; ++i) {
        ASSERT_TRUE(meter.add(1000));
    }
    EXPECT_GE(reports.all.size(), 100u);
    EXPECT_LT(reports.all.back().done, reports.all.back().total);
    meter.finish();
    EXPECT_EQ(reports.all.back().done, reports.all.back().total);
    EXPECT_TRUE(reports.monotone());
}

TEST(WorkMeter, NeverFallsWhateverTheTotalTurnsOutToBe) {
    std::mt19937 random(3);
    for (int round = 0; round < 200; ++round) {
        Reports reports;
        WorkMeter meter(reports.operation, random() % 1000);
        for (int i = 0; i < 50; ++i) {
            if (random() % 3 == 0) {
                meter.set_total(random() % 3000);
            }
            ASSERT_TRUE(meter.add(random() % 40));
            ASSERT_TRUE(reports.all.back().done < reports.all.back().total);
        }
        meter.finish();
        ASSERT_TRUE(reports.monotone());
    }
}

TEST(WorkMeter, StopsWhenAsked) {
    Reports reports;
    WorkMeter meter(reports.operation, 100);
    EXPECT_TRUE(meter.add(1));
    reports.stop.request_stop();
    EXPECT_EQ(meter.tick().error().code, ErrorCode::Cancelled);
    EXPECT_TRUE(WorkMeter(Operation(), 0).add(5)) << "nobody listens";
}

TEST(WorkMeter, ReportsWhileItWaitsAndPassesTheResultOn) {
    Reports reports;
    WorkMeter meter(reports.operation, 100);
    const auto before = reports.all.size();
    EXPECT_EQ(meter
                  .wait_for([] {
                      std::this_thread::sleep_for(std::chrono::milliseconds(300));
                      return Status(fail(ErrorCode::NoSpace, "full"));
                  })
                  .error()
                  .code,
              ErrorCode::NoSpace);
    EXPECT_GT(reports.all.size(), before);
    EXPECT_TRUE(reports.monotone());
}

}  // namespace
}  // namespace vpc::disk
