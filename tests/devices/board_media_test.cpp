// Somebody resets and pauses a PC and changes its floppies and discs, at any moment, from another thread, while its
// firmware does random things to every chip: each change is answered, drives hold what they should, and the state can
// be saved and loaded.
//
// A few sequences of such events; VPC_RANDOM_SEQUENCES=1000 does so many, VPC_RANDOM_SEED=N starts at another one.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <iterator>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "devices/board.h"
#include "tests/devices/hostile_bios.h"
#include "tests/devices/ide_bench.h"

namespace vpc::devices::test {
namespace {

constexpr std::uint64_t kSequences = 8;
constexpr int kEvents = 20;
constexpr std::chrono::seconds kPatience{60};
constexpr unsigned kDiscPlace = 2;

std::unique_ptr<disk::BlockDevice> medium(std::uint64_t sectors) {
    auto image = std::make_shared<DiskImage>(sectors);
    image->bad = {7, 100};
    return std::make_unique<MemoryDisk>(std::move(image));
}

class Sequence {
  public:
    explicit Sequence(std::uint64_t seed) : random_(seed) {
        BoardConfiguration configuration{.memory = 4, .bios = HostileBios(seed).image()};
        configuration.unix_time = [] { return std::int64_t{1'000'000'000}; };
        configuration.disks[0] = medium(4 * 16 * 63);
        configuration.cdroms[kDiscPlace] = true;
        auto made = Board::make(std::move(configuration));
        if (!made) {
            throw std::runtime_error(made.error());
        }
        board_ = std::move(*made);
    }
    ~Sequence() { pause(); }

    void run() {
        resume();
        for (int event = 0; event < kEvents && !testing::Test::HasFailure(); ++event) {
            one_event();
        }
        pause();
        EXPECT_GE(board_->resets(), resets_);
        check_state();
    }

  private:
    std::uint32_t below(std::uint32_t bound) { return static_cast<std::uint32_t>(random_() % bound); }

    void one_event() {
        switch (below(7)) {
            case 0: {
                static constexpr std::uint64_t kSizes[] = {320, 720, 1440, 2400, 2880, 5760};
                const std::uint64_t sectors = kSizes[below(std::size(kSizes))];
                if (change([&](Board::Done done) { board_->insert_floppy(0, medium(sectors), std::move(done)); })) {
                    floppy_ = true;
                }
                break;
            }
            case 1:
                if (change([&](Board::Done done) { board_->eject_floppy(0, std::move(done)); })) {
                    floppy_ = false;
                }
                break;
            case 2:
                if (change([&](Board::Done done) { board_->insert_disc(kDiscPlace, medium(4000), std::move(done)); })) {
                    disc_ = true;
                }
                break;
            case 3:
                if (change([&](Board::Done done) { board_->eject_disc(kDiscPlace, std::move(done)); })) {
                    disc_ = false;
                }
                break;
            case 4:
                board_->post([this] {  // a pause may come first, even the last
                    ++resets_;
                    board_->reset();
                });
                break;
            case 5:
                pause();
                check_state();
                resume();
                break;
            default:
                std::this_thread::sleep_for(std::chrono::microseconds(below(3000)));
                break;
        }
    }

    /// Whether it was done; a guest may have locked the tray, or a drive may not take a disk.
    template <typename Action>
    bool change(Action action) {
        auto answer = std::make_shared<std::promise<std::string>>();
        auto future = answer->get_future();
        action([answer](const std::string& problem) { answer->set_value(problem); });
        if (future.wait_for(kPatience) != std::future_status::ready) {
            ADD_FAILURE() << "a change of media was never answered";
            return false;
        }
        return future.get().empty();
    }

    void resume() {
        paused_ = false;
        machine_ = std::thread([this] {
            // A guest that switches off is switched on again. A quit() that met a machine which was ending anyway ends
            // the next run.
            Board::End end = Board::End::Quit;
            while (!paused_ && end != Board::End::Failed) {
                end = board_->run();
                if (end == Board::End::PowerOff) {
                    board_->reset();
                }
            }
            EXPECT_NE(end, Board::End::Failed) << board_->failure();
        });
    }
    void pause() {
        paused_ = true;
        board_->quit();
        if (machine_.joinable()) {
            machine_.join();
        }
    }

    std::vector<std::uint8_t> save() {
        StateStream stream = StateStream::saver();
        for (Device* chip : board_->chips()) {
            chip->serialize(stream);
        }
        return stream.bytes();
    }
    void check_state() {
        EXPECT_EQ(board_->floppy_controller().drive(0).medium() != nullptr, floppy_);
        EXPECT_EQ(board_->cdrom(kDiscPlace)->has_disc(), disc_);
        const std::vector<std::uint8_t> saved = save();
        StateStream loader = StateStream::loader(saved);
        for (Device* chip : board_->chips()) {
            EXPECT_NO_THROW(chip->serialize(loader)) << chip->name();
        }
        EXPECT_EQ(save(), saved);
    }

    std::mt19937_64 random_;
    std::unique_ptr<Board> board_;
    std::thread machine_;
    std::atomic<bool> paused_ = false;
    std::uint64_t resets_ = 0;  // machine's thread
    bool floppy_ = false;
    bool disc_ = false;
};

TEST(BoardMedia, SurvivesResetsPausesAndChangesOfMediaAtAnyMoment) {
    const std::uint64_t first = number_from_environment("VPC_RANDOM_SEED", 1);
    const std::uint64_t sequences = number_from_environment("VPC_RANDOM_SEQUENCES", kSequences);
    for (std::uint64_t seed = first; !HasFailure() && seed < first + sequences; ++seed) {
        SCOPED_TRACE(testing::Message() << "sequence " << seed);
        Sequence(seed).run();
    }
}

}  // namespace
}  // namespace vpc::devices::test
