#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "core/cpu.h"
#include "core/io_thread.h"
#include "core/run_loop.h"
#include "devices/ata_disk.h"
#include "devices/atapi_cdrom.h"
#include "devices/debug_port.h"
#include "devices/fw_cfg.h"
#include "devices/i440fx.h"
#include "devices/i8042.h"
#include "devices/i82077aa.h"
#include "devices/i8237a.h"
#include "devices/i8254.h"
#include "devices/i8259a.h"
#include "devices/mc146818.h"
#include "devices/parallel_port.h"
#include "devices/pc_cmos.h"
#include "devices/pci_bus.h"
#include "devices/pci_vga.h"
#include "devices/piix4_ide.h"
#include "devices/piix4_isa.h"
#include "devices/piix4_pm.h"
#include "devices/ps2_keyboard.h"
#include "devices/ps2_mouse.h"
#include "devices/system_ports.h"
#include "devices/uart16550a.h"
#include "devices/vga/vga.h"
#include "devices/vmware_backdoor.h"
#include "disk/block_device.h"

namespace vpc::devices {

/// What a board is built from.
struct BoardConfiguration {
    static constexpr std::uint64_t kMinimumMemory = 4;     ///< MiB
    static constexpr std::uint64_t kMaximumMemory = 3584;  ///< MiB: SeaBIOS places PCI memory at E0000000h

    std::uint64_t memory = 128;  ///< MiB
    const CpuModel* cpu = &default_cpu_model();
    std::vector<std::uint8_t> bios;      ///< the system BIOS; its end lies at 4 GiB. 64 KiB to 1 MiB, whole 4 KiB
    std::vector<std::uint8_t> vga_bios;  ///< the display's BIOS; empty: none
    /// Primary master and slave, secondary master and slave; null: nothing attached.
    std::array<std::unique_ptr<disk::BlockDevice>, 4> disks;
    /// CD-ROM drives at places where no hard disk is, in the same order, and the discs in them; null: empty.
    std::array<bool, 4> cdroms{};
    std::array<std::unique_ptr<disk::BlockDevice>, 4> discs;
    /// Drives A and B, and the disks in them at power-on; null: empty. A disk must fit its drive (see
    /// floppy_problem()).
    std::array<FloppyDriveType, 2> floppy_drives{FloppyDriveType::Mb1_44, FloppyDriveType::None};
    std::array<std::unique_ptr<disk::BlockDevice>, 2> floppies;
    std::string boot_order = "acd";  ///< letters of a (floppy), c (disk), d (CD-ROM)

    /// Bytes the guest sends; called on the machine's thread and must not block. Empty: they vanish.
    std::array<std::function<void(std::uint8_t)>, 2> serial;
    /// The printer at the parallel port; see ParallelPort. Empty: none is connected. Must not block.
    ParallelPort::Printer printer;
    /// What the guest writes to the debug ports 402h (firmware messages) and E9h.
    std::function<void(std::uint8_t)> firmware_log;
    std::function<void(std::uint8_t)> debug_log;
    /// Seconds since 1970 when the clock chip is switched on.
    std::function<std::int64_t()> unix_time;
    /// Called behind every reset, by whomever, on the thread that resets; must not block.
    std::function<void()> was_reset;
};

/// Virtual PC's PC: all chips, wired. Built on any thread; `run` makes its caller the machine's thread. Between
/// construction and `run`, and inside posted closures, the chips may be touched directly.
class Board {
  public:
    /// Why `run` came back.
    enum class End {
        Quit,      ///< somebody called quit
        PowerOff,  ///< the guest switched itself off
        Failed,    ///< see failure()
    };

    /// The error is one line for people.
    static tl::expected<std::unique_ptr<Board>, std::string> make(BoardConfiguration configuration);
    ~Board();

    End run();
    const std::string& failure() const { return failure_; }
    /// Any thread.
    void quit() { loop_->quit(); }
    void post(std::function<void()> work) { loop_->post(std::move(work)); }

    /// Hears, on the machine's thread, why it could not be done: one line for people, empty when it was done.
    using Done = std::function<void(const std::string& problem)>;
    /// Changing media. Any thread; it happens between two instructions of the guest, before `done` is called. Drive 0
    /// is A. What was in the drive before is taken out, flushed and closed.
    void insert_floppy(unsigned drive, std::unique_ptr<disk::BlockDevice> medium, Done done);
    void eject_floppy(unsigned drive, Done done);
    /// `place` counts as in BoardConfiguration::cdroms. A guest that has locked the tray is in the way.
    void insert_disc(unsigned place, std::unique_ptr<disk::BlockDevice> medium, Done done);
    void eject_disc(unsigned place, Done done);
    /// The first place with a CD-ROM drive, if any. Never changes.
    std::optional<unsigned> cdrom_place() const;

    /// As the reset button. Machine's thread.
    void reset();

    /// Saves or loads everything but the contents of RAM: clock, chips with transfers in flight, CPU. Only while `run`
    /// is not going on. Saving waits for the disks first; what they have done since is in the state as not done, and
    /// is done again after loading. Loading needs a board that has never run, made from an equal configuration, and
    /// RAM filled before; it throws StateError, and such a board must not be run.
    void serialize(StateStream& stream);

    Ps2Keyboard& keyboard() { return keyboard_; }
    Ps2Mouse& mouse() { return mouse_; }
    VmwareBackdoor& backdoor() { return *backdoor_; }
    Vga& vga() { return vga_; }
    Uart16550A& serial(unsigned index) { return *uarts_[index]; }
    Piix4Pm& power_management() { return *pm_; }
    Piix4Ide& ide() { return *ide_; }
    /// Null when no CD-ROM drive is there.
    const AtapiCdrom* cdrom(unsigned place) const { return cdroms_[place]; }
    const I82077AA& floppy_controller() const { return *floppy_controller_; }
    Cpu& cpu() { return *cpu_; }
    VirtualClock& clock() { return clock_; }
    PortBus& ports() { return ports_; }
    PhysicalMemory& memory() { return memory_; }
    Nanoseconds idle_time() const { return loop_->idle_time(); }
    /// How often the board was reset, by whomever.
    std::uint64_t resets() const { return resets_; }
    /// Every chip, in the order of saved states.
    const std::vector<Device*>& chips() const { return chips_; }

  private:
    explicit Board(BoardConfiguration configuration);
    std::string wire();
    void serialize_wires(StateStream& stream);
    void add_firmware();
    void fill_cmos();

    /// One of several wires that meet at an interrupt input of the 8259A pair; asserted while any of them is.
    Line interrupt_line(unsigned irq);
    Line a20_line();
    void set_interrupt(unsigned irq, bool asserted);
    void request_reset();

    BoardConfiguration configuration_;
    VirtualClock clock_;
    PortBus ports_;
    PhysicalMemory memory_;
    std::unique_ptr<Cpu> cpu_;
    std::unique_ptr<RunLoop> loop_;
    std::unique_ptr<IoThread> io_;

    std::array<std::uint32_t, 16> interrupt_sources_{};  // a bit for each asserted wire
    std::array<unsigned, 16> interrupt_wires_{};
    std::uint32_t a20_sources_ = 0;
    unsigned a20_wires_ = 0;

    std::unique_ptr<I8259A> slave_pic_;
    std::unique_ptr<I8259A> master_pic_;
    std::unique_ptr<I8254> pit_;
    std::unique_ptr<Mc146818> cmos_;
    std::unique_ptr<I8237A> dma_;
    std::unique_ptr<I82077AA> floppy_controller_;
    std::unique_ptr<I8042> keyboard_controller_;
    Ps2Keyboard keyboard_;
    Ps2Mouse mouse_;
    std::unique_ptr<SystemControlPorts> system_ports_;
    std::array<std::unique_ptr<Uart16550A>, 2> uarts_;
    std::unique_ptr<ParallelPort> parallel_port_;
    std::unique_ptr<VmwareBackdoor> backdoor_;
    std::unique_ptr<FwCfg> fw_cfg_;
    std::unique_ptr<DebugPort> firmware_port_;
    std::unique_ptr<DebugPort> debug_port_;
    std::unique_ptr<PciBus> pci_;
    std::unique_ptr<I440Fx> host_bridge_;
    std::unique_ptr<Piix4Isa> isa_bridge_;
    std::unique_ptr<Piix4Ide> ide_;
    std::array<AtapiCdrom*, 4> cdroms_{};  // on the cables of ide_
    std::unique_ptr<Piix4Pm> pm_;
    Vga vga_;
    PciVga pci_vga_{vga_};
    PortBus::Claim coprocessor_port_;
    Line coprocessor_error_;

    std::vector<Device*> chips_;
    bool powered_off_ = false;
    bool reset_requested_ = false;
    std::uint64_t resets_ = 0;
    std::string failure_;
};

}  // namespace vpc::devices
