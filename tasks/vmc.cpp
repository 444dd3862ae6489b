#include "tasks/vmc.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <pugixml.hpp>

#include "disk/new_file.h"

namespace vpc::tasks {

struct Vmc::Tree {
    pugi::xml_document document;
};

namespace {

constexpr std::uint64_t kLargest = 4 << 20;  // bytes; the product's own are below 20 KiB
constexpr int kDeepest = 32;                 // elements; the product's own nest 9 deep
constexpr unsigned kParse =
    pugi::parse_default | pugi::parse_declaration | pugi::parse_comments | pugi::parse_doctype | pugi::parse_pi;

constexpr bool is_high_surrogate(std::uint32_t unit) {
    return unit >= 0xD800 && unit < 0xDC00;
}
constexpr bool is_low_surrogate(std::uint32_t unit) {
    return unit >= 0xDC00 && unit < 0xE000;
}

void append_utf8(std::string& text, std::uint32_t character) {
    const auto byte = [&](std::uint32_t value) { text.push_back(static_cast<char>(value)); };
    if (character < 0x80) {
        byte(character);
    } else if (character < 0x800) {
        byte(0xC0 | character >> 6);
        byte(0x80 | (character & 0x3F));
    } else if (character < 0x10000) {
        byte(0xE0 | character >> 12);
        byte(0x80 | (character >> 6 & 0x3F));
        byte(0x80 | (character & 0x3F));
    } else {
        byte(0xF0 | character >> 18);
        byte(0x80 | (character >> 12 & 0x3F));
        byte(0x80 | (character >> 6 & 0x3F));
        byte(0x80 | (character & 0x3F));
    }
}

/// Nothing when a unit is half a character or zero.
std::optional<std::string> utf8_from_utf16(std::span<const std::uint8_t> bytes) {
    std::string text;
    const auto unit = [&](std::size_t i) { return static_cast<std::uint32_t>(bytes[i] | bytes[i + 1] << 8); };
    for (std::size_t i = 0; i + 1 < bytes.size(); i += 2) {
        std::uint32_t character = unit(i);
        if (is_high_surrogate(character) && i + 3 < bytes.size() && is_low_surrogate(unit(i + 2))) {
            character = 0x10000 + ((character - 0xD800) << 10) + (unit(i + 2) - 0xDC00);
            i += 2;
        } else if (character == 0 || is_high_surrogate(character) || is_low_surrogate(character)) {
            return std::nullopt;
        }
        append_utf8(text, character);
    }
    return bytes.size() % 2 == 0 ? std::optional(std::move(text)) : std::nullopt;
}

/// A stream writer of pugixml that stores UTF-16 with CRLF; it gets UTF-16 little-endian bytes.
class CrLfWriter final : public pugi::xml_writer {
  public:
    void write(const void* data, std::size_t size) override {
        const auto* units = static_cast<const std::uint8_t*>(data);
        for (std::size_t i = 0; i + 1 < size; i += 2) {
            if (units[i] == '\n' && units[i + 1] == 0) {
                bytes.insert(bytes.end(), {'\r', 0});
            }
            bytes.insert(bytes.end(), {units[i], units[i + 1]});
        }
    }
    std::vector<std::uint8_t> bytes;
};

struct Step {
    std::string name;
    std::string id;  // empty: none
};

/// Nothing when the key is malformed.
std::optional<std::vector<Step>> steps_of(std::string_view key) {
    constexpr std::string_view kId = "[@id=";
    std::vector<Step> steps;
    for (;;) {
        const std::size_t slash = key.find('/');
        std::string_view part = key.substr(0, slash);
        Step step;
        if (const std::size_t bracket = part.find('['); bracket != std::string_view::npos) {
            const std::string_view id = part.substr(bracket);
            if (!id.starts_with(kId) || !id.ends_with(']')) {
                return std::nullopt;
            }
            step.id = id.substr(kId.size(), id.size() - kId.size() - 1);
            part = part.substr(0, bracket);
            if (step.id.empty() || step.id.find_first_not_of("0123456789") != std::string::npos) {
                return std::nullopt;
            }
        }
        const bool named = !part.empty() && std::all_of(part.begin(), part.end(), [](char c) {
            return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
        }) && (part[0] < '0' || part[0] > '9');
        if (!named) {
            return std::nullopt;
        }
        step.name = part;
        steps.push_back(std::move(step));
        if (slash == std::string_view::npos) {
            return steps;
        }
        key.remove_prefix(slash + 1);
    }
}

pugi::xml_node child(const pugi::xml_node& parent, const Step& step) {
    for (const pugi::xml_node& node : parent.children(step.name.c_str())) {
        if (step.id == node.attribute("id").as_string()) {
            return node;
        }
    }
    return {};
}

pugi::xml_node find(const pugi::xml_document& document, std::string_view key) {
    const auto steps = steps_of(key);
    pugi::xml_node node = steps ? document.child("preferences") : pugi::xml_node();
    for (std::size_t i = 0; node && i < steps->size(); ++i) {
        node = child(node, (*steps)[i]);
    }
    return node;
}

bool too_deep(const pugi::xml_node& root) {
    int depth = 1;
    for (pugi::xml_node node = root; node;) {
        if (depth > kDeepest) {
            return true;
        }
        if (node.first_child()) {
            node = node.first_child();
            ++depth;
            continue;
        }
        while (node && node != root && !node.next_sibling()) {
            node = node.parent();
            --depth;
        }
        node = node == root ? pugi::xml_node() : node.next_sibling();
    }
    return false;
}

std::string place_key(unsigned place) {
    return fmt::format("hardware/pci_bus/ide_adapter/ide_controller[@id={}]/location[@id={}]", place / 2, place % 2);
}

disk::Status complete(const disk::Result<std::unique_ptr<disk::NewFile>>& file,
                      const std::vector<std::uint8_t>& content) {
    if (!file) {
        return tl::unexpected(file.error());
    }
    const disk::Status status = (*file)->file().write(0, disk::ConstBuffer(content));
    return status ? (*file)->complete() : status;
}

}  // namespace

Vmc::Vmc() : tree_(std::make_unique<Tree>()) {}
Vmc::Vmc(Vmc&&) noexcept = default;
Vmc& Vmc::operator=(Vmc&&) noexcept = default;
Vmc::~Vmc() = default;

Vmc Vmc::make() {
    Vmc vmc;
    pugi::xml_node declaration = vmc.tree_->document.append_child(pugi::node_declaration);
    declaration.append_attribute("version") = "1.0";
    declaration.append_attribute("encoding") = "UTF-16";
    vmc.tree_->document.append_child(pugi::node_comment).set_value(" Microsoft Virtual Machine Options and Settings ");
    vmc.tree_->document.append_child("preferences");
    vmc.set("version", "2.0");
    return vmc;
}

disk::Result<Vmc> Vmc::read(const std::filesystem::path& path) {
    const auto file = disk::open_file(path, disk::OpenMode::ReadOnly);
    if (!file) {
        return tl::unexpected(file.error());
    }
    const auto size = (*file)->size();
    if (!size) {
        return tl::unexpected(size.error());
    }
    if (*size > kLargest) {
        return disk::fail(disk::ErrorCode::Corrupt,
                          fmt::format("{}: no configuration is as large as {} bytes", (*file)->name(), *size));
    }
    std::vector<std::uint8_t> bytes(*size);
    if (!bytes.empty()) {
        if (disk::Status status = (*file)->read(0, disk::Buffer(bytes)); !status) {
            return tl::unexpected(status.error());
        }
    }
    return parse(bytes, (*file)->name());
}

disk::Result<Vmc> Vmc::parse(std::span<const std::uint8_t> bytes, const std::string& name) {
    const auto refuse = [&](const std::string& why) {
        return disk::fail(disk::ErrorCode::Corrupt, fmt::format("{}: no machine configuration: {}", name, why));
    };
    if (bytes.size() > kLargest) {
        return refuse("it is too large");
    }
    if (bytes.size() < 2 || bytes[0] != 0xFF || bytes[1] != 0xFE) {
        return refuse("it does not begin with the mark of UTF-16 little-endian");
    }
    const auto text = utf8_from_utf16(bytes.subspan(2));
    if (!text) {
        return refuse("it is not UTF-16 throughout");
    }
    Vmc vmc;
    const pugi::xml_parse_result result =
        vmc.tree_->document.load_buffer(text->data(), text->size(), kParse, pugi::encoding_utf8);
    if (!result) {
        const auto end = text->begin() + std::min<std::ptrdiff_t>(result.offset, std::ssize(*text));
        return refuse(fmt::format("line {}: {}", 1 + std::count(text->begin(), end, '\n'), result.description()));
    }
    for (const pugi::xml_node& node : vmc.tree_->document.children()) {
        if (node.type() == pugi::node_doctype) {
            return refuse("it has a document type");
        }
    }
    const pugi::xml_node root = vmc.tree_->document.child("preferences");
    if (!root) {
        return refuse("its root element is not 'preferences'");
    }
    if (too_deep(root)) {
        return refuse("it is nested too deeply");
    }
    return vmc;
}

std::vector<std::uint8_t> Vmc::bytes() const {
    CrLfWriter writer;
    tree_->document.save(writer, "\t", pugi::format_indent | pugi::format_write_bom, pugi::encoding_utf16_le);
    return std::move(writer.bytes);
}

disk::Status Vmc::write(const std::filesystem::path& path) const {
    return complete(disk::NewFile::create(path, true), bytes());
}

disk::Status Vmc::write(const std::filesystem::path& path, std::unique_ptr<disk::File>& lock) const {
    return complete(disk::NewFile::replace(path, lock), bytes());
}

// ---- leaves --------------------------------------------------------------------------------------------------------

HResult Vmc::get_leaf(std::string_view key, std::string_view type, std::string& text) const {
    const pugi::xml_node node = find(tree_->document, key);
    if (!node || !node.attribute("type")) {
        return HResult::VM_E_PREF_NOT_FOUND;
    }
    if (node.attribute("type").as_string() != type) {
        return HResult::VM_E_PREF_ILLEGAL_VALUE;
    }
    text = node.text().as_string();
    return HResult::S_OK;
}

HResult Vmc::get(std::string_view key, std::string& value) const {
    return get_leaf(key, "string", value);
}

HResult Vmc::get(std::string_view key, std::int64_t& value) const {
    std::string text;
    if (const HResult result = get_leaf(key, "integer", text); result != HResult::S_OK) {
        return result;
    }
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size()) {
        return HResult::VM_E_PREF_ILLEGAL_VALUE;
    }
    value = number;
    return HResult::S_OK;
}

HResult Vmc::get(std::string_view key, bool& value) const {
    std::string text;
    if (const HResult result = get_leaf(key, "boolean", text); result != HResult::S_OK) {
        return result;
    }
    if (text != "true" && text != "false") {
        return HResult::VM_E_PREF_ILLEGAL_VALUE;
    }
    value = text == "true";
    return HResult::S_OK;
}

HResult Vmc::get(std::string_view key, std::vector<std::uint8_t>& value) const {
    std::string text;
    if (const HResult result = get_leaf(key, "bytes", text); result != HResult::S_OK) {
        return result;
    }
    std::vector<std::uint8_t> read(text.size() / 2);
    for (std::size_t i = 0; i < read.size(); ++i) {
        const char* digits = text.data() + 2 * i;
        const auto [end, error] = std::from_chars(digits, digits + 2, read[i], 16);
        if (error != std::errc() || end != digits + 2) {
            return HResult::VM_E_PREF_ILLEGAL_VALUE;
        }
    }
    if (text.size() % 2 != 0) {
        return HResult::VM_E_PREF_ILLEGAL_VALUE;
    }
    value = std::move(read);
    return HResult::S_OK;
}

HResult Vmc::set_leaf(std::string_view key, const char* type, const std::string& text) {
    const auto steps = steps_of(key);
    if (!steps) {
        return HResult::E_INVALIDARG;
    }
    pugi::xml_node node = tree_->document.child("preferences");
    for (const Step& step : *steps) {
        if (node.attribute("type")) {
            return HResult::E_INVALIDARG;  // a leaf has nothing below it
        }
        pugi::xml_node next = child(node, step);
        if (!next) {
            next = node.append_child(step.name.c_str());
            if (!step.id.empty()) {
                next.append_attribute("id") = step.id.c_str();
            }
        }
        node = next;
    }
    if (std::any_of(node.begin(), node.end(), [](const auto& each) { return each.type() == pugi::node_element; })) {
        return HResult::E_INVALIDARG;
    }
    if (!node.attribute("type")) {
        node.append_attribute("type");
    }
    node.attribute("type") = type;
    while (node.remove_child(node.first_child())) {
    }
    if (!text.empty()) {
        node.text() = text.c_str();
    }
    return HResult::S_OK;
}

HResult Vmc::set(std::string_view key, std::string_view value) {
    return set_leaf(key, "string", std::string(value));
}
HResult Vmc::set(std::string_view key, std::int64_t value) {
    return set_leaf(key, "integer", std::to_string(value));
}
HResult Vmc::set(std::string_view key, bool value) {
    return set_leaf(key, "boolean", value ? "true" : "false");
}
HResult Vmc::set(std::string_view key, std::span<const std::uint8_t> value) {
    std::string text;
    for (const std::uint8_t byte : value) {
        text += fmt::format("{:02X}", byte);
    }
    return set_leaf(key, "bytes", text);
}

HResult Vmc::remove(std::string_view key) {
    pugi::xml_node node = find(tree_->document, key);
    return node && node.parent().remove_child(node) ? HResult::S_OK : HResult::VM_E_PREF_NOT_FOUND;
}

// ---- drives --------------------------------------------------------------------------------------------------------

VmcFile Vmc::file(const std::string& key, const std::filesystem::path& folder) const {
    std::string absolute;
    std::string relative;
    get(key + "/absolute", absolute);
    get(key + "/relative", relative);
    std::replace(absolute.begin(), absolute.end(), '\\', '/');
    std::replace(relative.begin(), relative.end(), '\\', '/');
    std::vector<std::filesystem::path> candidates;
    if (!relative.empty()) {
        candidates.push_back((folder / relative).lexically_normal());
    }
    if (absolute.starts_with('/')) {
        candidates.emplace_back(absolute);
    }
    if (const std::string name = absolute.substr(absolute.rfind('/') + 1); !name.empty()) {
        candidates.push_back(folder / name);
    }
    if (candidates.empty()) {
        return {};
    }
    const auto found = std::find_if(candidates.begin(), candidates.end(), [](const auto& each) {
        std::error_code ignored;
        return std::filesystem::exists(each, ignored);
    });
    const bool missing = found == candidates.end();
    return {.path = missing ? candidates.front() : *found, .missing = missing};
}

HResult Vmc::set_file(const std::string& key, const std::filesystem::path& file, const std::filesystem::path& folder) {
    std::string relative = file.empty() ? "" : file.lexically_relative(folder).string();
    if (!relative.empty() && !relative.starts_with("..")) {
        relative = "./" + relative;
    }
    std::replace(relative.begin(), relative.end(), '/', '\\');
    const HResult result = set(key + "/absolute", file.string());
    return result == HResult::S_OK ? set(key + "/relative", relative) : result;
}

std::array<VmcDrive, 4> Vmc::drives(const std::filesystem::path& folder) const {
    std::array<VmcDrive, 4> drives;
    for (unsigned place = 0; place < drives.size(); ++place) {
        VmcDrive& drive = drives[place];
        std::int64_t type = 0;
        get(place_key(place) + "/drive_type", type);
        if (type != static_cast<std::int64_t>(VmcDrive::Type::HardDisk) &&
            type != static_cast<std::int64_t>(VmcDrive::Type::Dvd)) {
            continue;
        }
        drive.type = static_cast<VmcDrive::Type>(type);
        VmcFile named = file(place_key(place) + "/pathname", folder);
        drive.missing = named.missing;
        drive.file = std::move(named.path);
    }
    return drives;
}

HResult Vmc::set_drive(unsigned place, VmcDrive::Type type, const std::filesystem::path& file,
                       const std::filesystem::path& folder) {
    if (place >= 4) {
        return HResult::E_INVALIDARG;
    }
    const HResult result = set(place_key(place) + "/drive_type", static_cast<std::int64_t>(type));
    return result == HResult::S_OK ? set_file(place_key(place) + "/pathname", file, folder) : result;
}

}  // namespace vpc::tasks
