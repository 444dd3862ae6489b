#include "devices/board.h"

#include <fmt/format.h>

#include <algorithm>
#include <new>

#include "core/state_stream.h"

namespace vpc::devices {
namespace {

constexpr std::uint64_t kMegabyte = 1 << 20;
constexpr std::uint32_t kPage = 4096;

// ISA interrupt numbers of a PC.
constexpr unsigned kTimerIrq = 0;
constexpr unsigned kKeyboardIrq = 1;
constexpr unsigned kCascadeIrq = 2;
constexpr unsigned kFloppyIrq = 6;
constexpr unsigned kParallelIrq = 7;
constexpr unsigned kClockIrq = 8;
constexpr unsigned kSciIrq = 9;
constexpr unsigned kMouseIrq = 12;
constexpr unsigned kCoprocessorIrq = 13;

constexpr unsigned kFloppyDmaChannel = 2;

// PCI places: the host bridge, the PIIX4's functions and the display, as on 440FX boards.
constexpr unsigned kHostBridgeDevice = 0;
constexpr unsigned kPiix4Device = 1;
constexpr unsigned kDisplayDevice = 2;

std::string check(const BoardConfiguration& configuration) {
    if (configuration.memory < BoardConfiguration::kMinimumMemory ||
        configuration.memory > BoardConfiguration::kMaximumMemory) {
        return fmt::format("memory: {} MiB is outside what this PC takes, {} to {} MiB", configuration.memory,
                           BoardConfiguration::kMinimumMemory, BoardConfiguration::kMaximumMemory);
    }
    const std::size_t size = configuration.bios.size();
    if (size < 64 * 1024 || size > kMegabyte || size % kPage != 0) {
        return fmt::format("the system BIOS has {} bytes; a PC's has 64 KiB to 1 MiB in steps of 4 KiB", size);
    }
    if (configuration.vga_bios.size() > 64 * 1024) {
        return fmt::format("the VGA BIOS has {} bytes; at most 64 KiB fit", configuration.vga_bios.size());
    }
    for (std::size_t i = 0; i < configuration.disks.size(); ++i) {
        if (configuration.cdroms[i] && configuration.disks[i]) {
            return "a CD-ROM drive and a hard disk are to be at the same place of an IDE cable";
        }
        if (configuration.discs[i]) {
            if (const std::string problem = cd_problem(configuration.discs[i]->sectors()); !problem.empty()) {
                return "the CD image " + problem;
            }
        }
    }
    for (std::size_t i = 0; i < configuration.floppies.size(); ++i) {
        if (configuration.floppies[i]) {
            const std::uint64_t sectors = configuration.floppies[i]->sectors();
            if (const std::string problem = floppy_problem(configuration.floppy_drives[i], sectors); !problem.empty()) {
                return fmt::format("the floppy image for drive {} {}", "AB"[i], problem);
            }
        }
    }
    return {};
}

}  // namespace

tl::expected<std::unique_ptr<Board>, std::string> Board::make(BoardConfiguration configuration) {
    if (std::string problem = check(configuration); !problem.empty()) {
        return tl::unexpected(std::move(problem));
    }
    const std::uint64_t memory = configuration.memory;
    try {
        std::unique_ptr<Board> board(new Board(std::move(configuration)));
        if (std::string problem = board->wire(); !problem.empty()) {
            return tl::unexpected(std::move(problem));
        }
        return board;
    } catch (const std::bad_alloc&) {
        return tl::unexpected(fmt::format("memory: the host does not give {} MiB for the guest's RAM", memory));
    } catch (const BusConflict& conflict) {
        return tl::unexpected(std::string("the board is wired wrongly: ") + conflict.what());
    }
}

Board::Board(BoardConfiguration configuration)
    : configuration_(std::move(configuration)),
      memory_(configuration_.memory * kMegabyte),
      keyboard_(clock_),
      mouse_(clock_),
      vga_(ports_, memory_, clock_, [this](std::function<void()> work) { loop_->post(std::move(work)); }) {}

Board::~Board() {
    io_.reset();  // its completions go to the loop, and its work uses the disks: first of all it must end
}

std::string Board::wire() {
    const auto rom_base = static_cast<std::uint32_t>(0x1'0000'0000 - configuration_.bios.size());
    std::uint8_t* bios = memory_.map_rom("system BIOS", rom_base, configuration_.bios);

    auto cpu = make_cpu(*configuration_.cpu, {memory_, ports_, clock_, [this] { coprocessor_error_.set(true); }});
    if (!cpu) {
        return cpu.error();
    }
    cpu_ = std::move(*cpu);
    loop_ = std::make_unique<RunLoop>(*cpu_, clock_,
                                      RunLoop::Hooks{.acknowledge = [this] { return master_pic_->acknowledge(); },
                                                     .cpu_shutdown = [this] { reset(); }});
    io_ = std::make_unique<IoThread>([this](std::function<void()> work) { loop_->post(std::move(work)); });

    slave_pic_ = std::make_unique<I8259A>("8259A-slave", ports_, 0xA0, 0x4D1, 0xDE,
                                          Line([this](bool level) { master_pic_->set_irq(kCascadeIrq, level); }));
    master_pic_ = std::make_unique<I8259A>(
        "8259A-master", ports_, 0x20, 0x4D0, 0xF8, Line([this](bool level) { loop_->set_interrupt_request(level); }),
        [this] { return slave_pic_->acknowledge(); }, static_cast<int>(kCascadeIrq));

    const auto request = [this] { request_reset(); };
    pit_ = std::make_unique<I8254>(ports_, clock_, interrupt_line(kTimerIrq));
    cmos_ = std::make_unique<Mc146818>(ports_, clock_, configuration_.unix_time, interrupt_line(kClockIrq));
    dma_ = std::make_unique<I8237A>(ports_, memory_);
    keyboard_controller_ = std::make_unique<I8042>(ports_, clock_, interrupt_line(kKeyboardIrq),
                                                   interrupt_line(kMouseIrq), a20_line(), Line([request](bool level) {
                                                       if (level) {
                                                           request();
                                                       }
                                                   }));
    keyboard_controller_->connect_keyboard(keyboard_);
    keyboard_controller_->connect_aux(mouse_);
    system_ports_ = std::make_unique<SystemControlPorts>(ports_, clock_, *pit_, a20_line(), request);
    constexpr std::array<std::uint16_t, 2> kSerialBase{0x3F8, 0x2F8};
    constexpr std::array<unsigned, 2> kSerialIrq{4, 3};
    for (std::size_t i = 0; i < uarts_.size(); ++i) {
        auto transmit = configuration_.serial[i] ? configuration_.serial[i] : [](std::uint8_t) {};
        uarts_[i] = std::make_unique<Uart16550A>(fmt::format("16550A-{}", i + 1), ports_, clock_, kSerialBase[i],
                                                 interrupt_line(kSerialIrq[i]), std::move(transmit));
    }
    parallel_port_ =
        std::make_unique<ParallelPort>(ports_, clock_, interrupt_line(kParallelIrq), configuration_.printer);
    backdoor_ = std::make_unique<VmwareBackdoor>(
        ports_,
        VmwareBackdoor::Registers{
            .get = [this](GeneralRegister which) { return cpu_->general(which); },
            .set = [this](GeneralRegister which, std::uint32_t value) { cpu_->set_general(which, value); }},
        [this] { mouse_.wake_driver(); });
    const auto sink = [](const std::function<void(std::uint8_t)>& wanted) {
        return wanted ? wanted : [](std::uint8_t) {};
    };
    firmware_port_ = std::make_unique<DebugPort>(ports_, 0x402, 0xE9, sink(configuration_.firmware_log));
    debug_port_ = std::make_unique<DebugPort>(ports_, 0xE9, 0xE9, sink(configuration_.debug_log));
    coprocessor_error_ = interrupt_line(kCoprocessorIrq);
    coprocessor_port_ =
        ports_.claim({.owner = "coprocessor error latch", .first = 0xF0, .count = 2},
                     {.write = [this](std::uint16_t, std::uint32_t, unsigned) { coprocessor_error_.set(false); }});
    fw_cfg_ = std::make_unique<FwCfg>(ports_, memory_);

    pci_ = std::make_unique<PciBus>(ports_, [request](std::uint8_t) { request(); });
    // The bridge shows the VGA BIOS below 1 MiB; at home it is below the system BIOS.
    std::uint8_t* vga_bios = nullptr;
    const std::size_t vga_bios_size = (configuration_.vga_bios.size() + 0xFFF) & ~std::size_t{0xFFF};
    if (vga_bios_size != 0) {
        vga_bios =
            memory_.map_rom("VGA BIOS", rom_base - static_cast<std::uint32_t>(vga_bios_size), configuration_.vga_bios);
    }
    host_bridge_ = std::make_unique<I440Fx>(memory_, bios, configuration_.bios.size(), vga_bios, vga_bios_size);
    std::array<Line, Piix4Isa::kInterrupts> routed;
    for (unsigned irq = 0; irq < routed.size(); ++irq) {
        routed[irq] = interrupt_line(irq);
    }
    isa_bridge_ = std::make_unique<Piix4Isa>(*pci_, std::move(routed));
    ide_ = std::make_unique<Piix4Ide>(ports_, memory_, clock_, *io_,
                                      std::array<Line, 2>{interrupt_line(14), interrupt_line(15)});
    floppy_controller_ = std::make_unique<I82077AA>(ports_, clock_, *io_, dma_->channel(kFloppyDmaChannel),
                                                    interrupt_line(kFloppyIrq), configuration_.floppy_drives);
    for (unsigned i = 0; i < configuration_.floppies.size(); ++i) {
        if (configuration_.floppies[i]) {
            floppy_controller_->insert(i, std::move(configuration_.floppies[i]));
        }
    }
    pm_ = std::make_unique<Piix4Pm>(
        ports_, clock_, interrupt_line(kSciIrq),
        [this] {
            powered_off_ = true;
            loop_->quit();
        },
        Piix4Pm::Present{});
    pci_->attach(kHostBridgeDevice, 0, *host_bridge_);
    pci_->attach(kPiix4Device, 0, *isa_bridge_);
    pci_->attach(kPiix4Device, 1, *ide_);
    pci_->attach(kPiix4Device, 3, *pm_);
    pci_->attach(kDisplayDevice, 0, pci_vga_);

    // clang-format off
    chips_ = {slave_pic_.get(),
              master_pic_.get(),
              pit_.get(),
              cmos_.get(),
              dma_.get(),
              floppy_controller_.get(),
              keyboard_controller_.get(),
              &keyboard_,
              &mouse_,
              system_ports_.get(),
              uarts_[0].get(),
              uarts_[1].get(),
              parallel_port_.get(),
              backdoor_.get(),
              fw_cfg_.get(),
              pci_.get(),
              host_bridge_.get(),
              isa_bridge_.get(),
              ide_.get(),
              pm_.get(),
              &pci_vga_,
              &vga_};
    // clang-format on

    fill_cmos();
    add_firmware();
    for (std::size_t i = 0; i < configuration_.disks.size(); ++i) {
        if (configuration_.disks[i]) {
            ide_->attach(static_cast<unsigned>(i / 2), static_cast<unsigned>(i % 2),
                         std::make_unique<AtaDisk>(std::move(configuration_.disks[i])));
        } else if (configuration_.cdroms[i]) {
            auto drive = std::make_unique<AtapiCdrom>(std::move(configuration_.discs[i]));
            cdroms_[i] = drive.get();
            ide_->attach(static_cast<unsigned>(i / 2), static_cast<unsigned>(i % 2), std::move(drive));
        }
    }
    return {};
}

void Board::fill_cmos() {
    PcCmosLayout layout{.memory = configuration_.memory * kMegabyte,
                        .boot_order = configuration_.boot_order,
                        .floppies = configuration_.floppy_drives};
    for (std::size_t i = 0; i < configuration_.disks.size(); ++i) {
        if (const disk::BlockDevice* disk = configuration_.disks[i].get()) {
            const disk::Geometry geometry = disk->geometry();
            layout.hard_disks[i] = {
                .cylinders = geometry.cylinders, .heads = geometry.heads, .sectors = geometry.sectors_per_track};
        }
    }
    fill_pc_cmos(*cmos_, layout);
}

void Board::add_firmware() {
    fw_cfg_->add_number(FwCfgItem::RamSize, 8, configuration_.memory * kMegabyte);
    fw_cfg_->add_number(FwCfgItem::NoGraphic, 2, 0);
    fw_cfg_->add_number(FwCfgItem::CpuCount, 2, 1);
    fw_cfg_->add_number(FwCfgItem::MaxCpus, 2, 1);
    fw_cfg_->add_number(FwCfgItem::BootMenu, 2, 0);
    if (!configuration_.vga_bios.empty()) {
        // By this name SeaBIOS takes it for the ROM of the PCI function and tells it where that is: how SeaVGABIOS
        // finds its frame buffer.
        fw_cfg_->add_file("pci1234,1111.rom", configuration_.vga_bios);
    }
}

Line Board::interrupt_line(unsigned irq) {
    const std::uint32_t bit = 1u << interrupt_wires_[irq]++;
    return Line([this, irq, bit](bool level) {
        std::uint32_t& sources = interrupt_sources_[irq];
        sources = level ? sources | bit : sources & ~bit;
        if (irq < 8) {
            master_pic_->set_irq(irq, sources != 0);
        } else {
            slave_pic_->set_irq(irq - 8, sources != 0);
        }
    });
}

Line Board::a20_line() {
    const std::uint32_t bit = 1u << a20_wires_++;
    return Line([this, bit](bool level) {
        const bool before = a20_sources_ != 0;
        a20_sources_ = level ? a20_sources_ | bit : a20_sources_ & ~bit;
        if ((a20_sources_ != 0) != before) {
            cpu_->set_a20(a20_sources_ != 0);
        }
    });
}

void Board::insert_floppy(unsigned drive, std::unique_ptr<disk::BlockDevice> medium, Done done) {
    post([this, drive, medium = std::shared_ptr(std::move(medium)), done = std::move(done)] {
        std::string problem = floppy_problem(configuration_.floppy_drives[drive], medium->sectors());
        if (problem.empty()) {
            floppy_controller_->insert(drive, medium);
        }
        done(problem);
    });
}

void Board::eject_floppy(unsigned drive, Done done) {
    post([this, drive, done = std::move(done)] {
        floppy_controller_->eject(drive);
        done({});
    });
}

std::optional<unsigned> Board::cdrom_place() const {
    for (unsigned place = 0; place < cdroms_.size(); ++place) {
        if (cdroms_[place] != nullptr) {
            return place;
        }
    }
    return std::nullopt;
}

void Board::insert_disc(unsigned place, std::unique_ptr<disk::BlockDevice> medium, Done done) {
    post([this, place, medium = std::shared_ptr(std::move(medium)), done = std::move(done)] {
        std::string problem = cd_problem(medium->sectors());
        if (problem.empty() && cdroms_[place] == nullptr) {
            problem = "cannot be inserted: there is no such CD-ROM drive";
        }
        if (problem.empty() && !cdroms_[place]->insert(medium)) {
            problem = "cannot be inserted: the guest has locked the drive's tray";
        }
        done(problem);
    });
}

void Board::eject_disc(unsigned place, Done done) {
    post([this, place, done = std::move(done)] {
        const bool ejected = cdroms_[place] != nullptr && cdroms_[place]->eject();
        done(ejected                     ? std::string()
             : cdroms_[place] == nullptr ? "there is no such CD-ROM drive"
                                         : "the guest has locked the drive's tray");
    });
}

void Board::request_reset() {
    // A reset pulled from inside an instruction takes effect behind it: the CPU must not change under its own feet.
    if (!reset_requested_) {
        reset_requested_ = true;
        loop_->post([this] { reset(); });
    }
}

void Board::reset() {
    reset_requested_ = false;
    ++resets_;
    for (Device* chip : chips_) {
        chip->reset();
    }
    cpu_->reset();
    cpu_->set_a20(a20_sources_ != 0);
    if (configuration_.was_reset) {
        configuration_.was_reset();
    }
}

// The wires come before the chips: each chip drives its own again after loading, and where several share an input, the
// first must not pull it down for a moment.
void Board::serialize_wires(StateStream& stream) {
    bool coprocessor_error = coprocessor_error_.level();
    bool reset_requested = reset_requested_;
    stream.section("board", 1, [&] {
        stream.field(interrupt_sources_);
        stream.field(a20_sources_);
        stream.field(coprocessor_error);
        stream.field(reset_requested);
        stream.field(resets_);
    });
    if (stream.loading()) {
        if (reset_requested) {
            request_reset();
        }
        coprocessor_error_.set(coprocessor_error);
    }
}

void Board::serialize(StateStream& stream) {
    if (!stream.loading()) {
        io_->wait_until_idle();
    }
    clock_.serialize(stream);
    serialize_wires(stream);
    for (Device* chip : chips_) {
        chip->serialize(stream);
    }
    loop_->serialize(stream);
    CpuState state = cpu_->state();
    state.serialize(stream);
    if (stream.loading()) {
        cpu_->set_state(state);
    }
}

Board::End Board::run() {
    powered_off_ = false;
    failure_ = loop_->run();
    if (!failure_.empty()) {
        return End::Failed;
    }
    return powered_off_ ? End::PowerOff : End::Quit;
}

}  // namespace vpc::devices
