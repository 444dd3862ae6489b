#include "ui/cli/run_options.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "core/cpu_model.h"
#include "devices/board.h"

namespace vpc::cli {
namespace {

std::string check_boot_order(const std::string& order) {
    std::string letters = order;
    std::sort(letters.begin(), letters.end());
    const bool repeated = std::adjacent_find(letters.begin(), letters.end()) != letters.end();
    if (order.empty() || repeated || order.find_first_not_of("acd") != std::string::npos) {
        return "'" + order + "' is not made of the letters a (floppy), c (hard disk) and d (CD-ROM), each at most once";
    }
    return {};
}

}  // namespace

void add_machine_options(CLI::App& app, RunOptions& options) {
    using devices::BoardConfiguration;
    app.add_option("--memory", options.memory, "RAM of the machine in MiB")
        ->type_name("MB")
        ->capture_default_str()
        ->check(CLI::Range(BoardConfiguration::kMinimumMemory, BoardConfiguration::kMaximumMemory));
    constexpr std::array<const char*, 4> kPlaces{"primary master", "primary slave", "secondary master",
                                                 "secondary slave"};
    for (std::size_t i = 0; i < options.disks.size(); ++i) {
        app.add_option(fmt::format("--hd{}", static_cast<char>('a' + i)), options.disks[i],
                       fmt::format("hard disk image at the {}: fixed or dynamic VHD, or raw", kPlaces[i]))
            ->type_name("IMAGE");
    }
    app.add_option("--floppy", options.floppies,
                   "floppy disk image (.img, .vfd) in drive A, given again in drive B; its size, 160 KB to 2.88 MB, "
                   "decides what drive it is (without one: an empty 1.44 MB drive A, no B)")
        ->type_name("IMAGE")
        ->expected(1)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    app.add_option("--cdrom", options.cdrom,
                   "CD image (.iso) in the CD-ROM drive, which is the secondary master, or the first place of an IDE "
                   "cable without a hard disk (without an image it is there and empty)")
        ->type_name("ISO");
    app.add_option("--boot", options.boot_order, "order in which drives are tried: a floppy, c hard disk, d CD-ROM")
        ->type_name("ORDER")
        ->capture_default_str()
        ->check(check_boot_order);
    app.add_option("--serial", options.serial,
                   "back end of COM1, given again of COM2: stdio, file:PATH, pty, unix:PATH or null")
        ->type_name("BACKEND")
        ->expected(1)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    app.add_option("--parallel", options.parallel,
                   "printer at the parallel port (378h, IRQ 7): file:PATH gets what the guest prints")
        ->type_name("BACKEND");
    app.add_option("--bios", options.bios, "system BIOS instead of the package seabios's bios.bin")->type_name("FILE");
    app.add_option("--vgabios", options.vga_bios, "VGA BIOS instead of the package seabios's vgabios-stdvga.bin")
        ->type_name("FILE");
    std::string models;
    for (const CpuModel& model : cpu_models()) {
        models += (models.empty() ? "" : ", ") + std::string(model.name);
    }
    app.add_option("--cpu", options.cpu, "processor: " + models)
        ->type_name("MODEL")
        ->default_str(std::string(default_cpu_model().name))
        ->check([models](const std::string& name) {
            return find_cpu_model(name) != nullptr ? std::string()
                                                   : "there is no model '" + name + "'; there are " + models;
        });
}

void add_window_options(CLI::App& app, WindowOptions& options, const std::string& f4) {
    app.add_flag("--headless", options.headless, "no window, also where there is a display");
    app.add_option("--host-key", options.host_key,
                   "key that frees the mouse from the window; held, with ENTER: full screen, DEL: Ctrl+Alt+Del to the "
                   "guest, P: pause or go on, R: reset, F4: " +
                       f4)
        ->type_name("KEY")
        ->capture_default_str();
}

void add_run_options(CLI::App& app, RunOptions& options) {
    app.add_option(
           "MACHINE", options.machine,
           "a registered machine (see vpc list) or a .vmc file, which goes on if it is saved; the other options go "
           "over what it says")
        ->type_name("NAME|FILE.vmc");
    add_machine_options(app, options);
    add_window_options(app, options.window,
                       "save the machine and end, or turn it off if it is no file's or with --undo");
    app.add_option("--time-limit", options.time_limit, "give up after so many seconds, with exit status 124")
        ->type_name("SECONDS")
        ->check(CLI::Range(0.001, 1e9));
    app.add_option("--until-serial", options.until_serial,
                   "end with status 0 when a line the guest sends to COM1 matches this ECMAScript regular expression")
        ->type_name("REGEX");
    app.add_option("--until-screen", options.until_screen, "end with status 0 when a line of the text screen matches")
        ->type_name("REGEX");
    app.add_option(
           "--keys", options.keys,
           "type this: characters, {ENTER}, {F1}, {CTRL+ALT+DEL}, {LEFT 1.5} (held for seconds), {WAIT 2} and so on; "
           "{INSERT a FILE} and {EJECT a} change the disk in floppy drive a or b or the CD-ROM drive cd")
        ->type_name("KEYS");
    app.add_option("--screenshot", options.screenshot, "write the screen to this PNG file at the end")
        ->type_name("FILE");
    app.add_flag("--print-screen", options.print_screen, "print the text screen on stdout at the end");
    app.add_flag("--undo", options.undo,
                 "throw all changes to hard and floppy disks away at the end; undo disks and a saved state stay");
    app.add_option("--debug-port", options.debug_port,
                   "write what the guest sends to the debug ports 402h and E9h to this file")
        ->type_name("FILE");
    app.add_option("--trace", options.trace,
                   "log everything of these comma-separated categories on stderr: cpu, ports, or a chip's name")
        ->type_name("CATEGORIES")
        ->delimiter(',');
    app.add_flag("--stats", options.stats, "print statistics as one JSON object on stdout at the end");
}

}  // namespace vpc::cli
