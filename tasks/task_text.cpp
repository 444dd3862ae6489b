#include "tasks/task_text.h"

#include <fmt/format.h>

namespace vpc::tasks {
namespace {

struct Texts {
    std::string_view english;
    std::string_view german;
};

Texts texts(TaskKind kind) {
    switch (kind) {
        case TaskKind::Logoff:
            return {"Logging off the users of {}", "Benutzer von {} werden abgemeldet"};
        case TaskKind::Restart:
            return {"Restarting the guest of {}", "Der Gast von {} wird neu gestartet"};
        case TaskKind::Shutdown:
            return {"Shutting down the guest of {}", "Der Gast von {} wird heruntergefahren"};
        case TaskKind::Compact:
            return {"Compacting {}", "{} wird komprimiert"};
        case TaskKind::Convert:
            return {"Converting {}", "{} wird konvertiert"};
        case TaskKind::Merge:
            return {"Merging {} into its parent", "{} wird mit der übergeordneten Festplatte zusammengeführt"};
        case TaskKind::MergeTo:
            return {"Merging {} into a new disk", "{} wird zu einer neuen Festplatte zusammengeführt"};
        case TaskKind::MergeUndoDisks:
            return {"Committing the undo disks of {}", "Die Rückgängig-Datenträger von {} werden übernommen"};
        case TaskKind::Reset:
            return {"Resetting {}", "{} wird zurückgesetzt"};
        case TaskKind::Save:
            return {"Saving the state of {}", "Der Zustand von {} wird gespeichert"};
        case TaskKind::Startup:
            return {"Starting {}", "{} wird gestartet"};
        case TaskKind::TurnOff:
            return {"Turning off {}", "{} wird ausgeschaltet"};
        case TaskKind::CreateDifferencingVirtualHardDisk:
            return {"Creating the differencing disk {}", "Die differenzierende Festplatte {} wird erstellt"};
        case TaskKind::CreateDynamicVirtualHardDisk:
            return {"Creating the dynamic disk {}", "Die dynamisch erweiterbare Festplatte {} wird erstellt"};
        case TaskKind::CreateFixedVirtualHardDisk:
            return {"Creating the fixed disk {}", "Die Festplatte fester Größe {} wird erstellt"};
    }
    return {"{}", "{}"};
}

}  // namespace

std::string task_description(TaskKind kind, std::string_view subject, Language language) {
    const Texts both = texts(kind);
    return fmt::format(fmt::runtime(language == Language::German ? both.german : both.english), subject);
}

}  // namespace vpc::tasks
