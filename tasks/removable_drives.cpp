// VirtualMachine's removable drives.
#include <chrono>
#include <future>
#include <utility>

#include "tasks/virtual_machine.h"

namespace vpc::tasks {
namespace {

constexpr std::chrono::seconds kLongestChange{10};  // of a machine's thread that does not come around

Outcome refused(HResult error, std::string detail = {}) {
    return {error, VMTaskResult::UnexpectedError, std::move(detail)};
}

}  // namespace

Outcome VirtualMachine::insert_medium(RemovableDrive drive, const std::filesystem::path& file) {
    OpenedMedium medium =
        drive == RemovableDrive::CdRom ? open_disc(file) : open_floppy(file, settings_.discard_changes);
    return medium ? change_medium(drive, std::move(*medium), file.string()) : medium.error();
}

Outcome VirtualMachine::eject_medium(RemovableDrive drive) {
    if (State() == VMVMState::Running && media().file(drive).empty()) {
        return refused(HResult::VM_E_NO_MEDIA_CAPTURED);
    }
    return change_medium(drive, nullptr, {});
}

Outcome VirtualMachine::change_medium(RemovableDrive drive, std::unique_ptr<disk::BlockDevice> medium,
                                      const std::string& file) {
    if (State() == VMVMState::Paused) {
        return refused(HResult::VM_E_VM_PAUSED);
    }
    if (drive == RemovableDrive::CdRom && !settings_.cdrom_place) {
        return refused(HResult::VM_E_DRIVE_INVALID, "there is no CD-ROM drive");
    }
    // Whoever has to wait for the machine's thread may have given up, or the machine may end before: nothing that is
    // used below belongs to this call.
    auto answer = std::make_shared<std::promise<std::string>>();
    std::future<std::string> answered = answer->get_future();
    const auto done = [this, drive, file, answer = std::move(answer)](const std::string& problem) {
        if (problem.empty()) {
            const std::scoped_lock guard(mutex_);
            media_.file(drive) = file;
        }
        answer->set_value(problem);
    };
    const bool insert = medium != nullptr;
    const bool posted =
        post([this, drive, insert, done,
              medium = std::make_shared<std::unique_ptr<disk::BlockDevice>>(std::move(medium))](devices::Board& board) {
            if (drive == RemovableDrive::CdRom) {
                const unsigned place = *settings_.cdrom_place;
                insert ? board.insert_disc(place, std::move(*medium), done) : board.eject_disc(place, done);
            } else {
                const unsigned number = drive == RemovableDrive::B ? 1 : 0;
                insert ? board.insert_floppy(number, std::move(*medium), done) : board.eject_floppy(number, done);
            }
        });
    if (!posted) {
        return refused(HResult::VM_E_VM_NOT_RUNNING);
    }
    if (answered.wait_for(kLongestChange) != std::future_status::ready) {
        return refused(HResult::VM_E_TIMED_OUT);
    }
    try {
        const std::string problem = answered.get();
        if (problem.empty()) {
            return {};
        }
        return insert ? refused(HResult::VM_E_IMAGE_CAPTURE_FAIL, "'" + file + "' " + problem)
                      : refused(HResult::VM_E_MEDIA_UNMOUNT_FAIL, problem);
    } catch (const std::future_error&) {
        return refused(HResult::VM_E_VM_NOT_RUNNING);
    }
}

}  // namespace vpc::tasks
