#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "disk/file.h"
#include "tasks/result.h"

namespace vpc::tasks {

/// A drive of the IDE adapter as a configuration names it.
struct VmcDrive {
    enum class Type : std::int32_t { None = 0, HardDisk = 1, Dvd = 2 };  ///< VMDriveType
    Type type = Type::None;
    std::filesystem::path file;  ///< where it is, or where it was last looked for; empty: none
    /// The file is named, but is in none of the places that the configuration leads to.
    bool missing = false;
};

/// A file that a configuration names.
struct VmcFile {
    std::filesystem::path path;  ///< where it is, or where it was last looked for; empty: none
    bool missing = false;        ///< it is in none of the places that the configuration leads to
};

/// A machine's configuration file, `.vmc`, as Virtual PC 2004 to Windows Virtual PC write it: XML in UTF-16
/// little-endian with a byte order mark, a tree of keys whose leaves carry a type. Keys that this program does not know
/// stay as they are. One thread at a time.
///
/// Key paths are Virtual PC's: element names below the root, "hardware/memory/ram_size", with the id where an element
/// has one, "ide_controller[@id=1]". A name without an id means the element without one.
class Vmc {
  public:
    /// Corrupt with the line number when it is no well-formed XML, has a document type (nothing honest needs one, and
    /// entities live there), or is nested or sized beyond what a configuration can be.
    static disk::Result<Vmc> read(const std::filesystem::path& file);
    static disk::Result<Vmc> parse(std::span<const std::uint8_t> bytes, const std::string& name);
    /// A new configuration with the version and nothing else.
    static Vmc make();
    Vmc(Vmc&&) noexcept;
    Vmc& operator=(Vmc&&) noexcept;
    ~Vmc();

    std::vector<std::uint8_t> bytes() const;
    /// Replaces the file when the new one is whole and on the host's disk.
    disk::Status write(const std::filesystem::path& file) const;
    /// The same for whoever holds the file's lock, which is then the new file's.
    disk::Status write(const std::filesystem::path& file, std::unique_ptr<disk::File>& lock) const;

    /// VM_E_PREF_NOT_FOUND: no such leaf. VM_E_PREF_ILLEGAL_VALUE: of another type, or not what its type says.
    HResult get(std::string_view key, std::string& value) const;
    HResult get(std::string_view key, std::int64_t& value) const;
    HResult get(std::string_view key, bool& value) const;
    HResult get(std::string_view key, std::vector<std::uint8_t>& value) const;
    /// Makes the leaf and the elements above it if need be. E_INVALIDARG: a malformed key, or one that ends at an
    /// element that has others below it.
    HResult set(std::string_view key, std::string_view value);
    HResult set(std::string_view key, const char* value) { return set(key, std::string_view(value)); }
    HResult set(std::string_view key, std::int64_t value);
    HResult set(std::string_view key, bool value);
    HResult set(std::string_view key, std::span<const std::uint8_t> value);
    /// With everything below it. VM_E_PREF_NOT_FOUND.
    HResult remove(std::string_view key);

    /// Primary master and slave, secondary master and slave. A path is looked for where the relative one leads from
    /// `folder` (the configuration's), then where the absolute one does, then under its last name in `folder`: a
    /// machine that was copied from Windows finds its disks beside itself. Backslashes count as slashes.
    std::array<VmcDrive, 4> drives(const std::filesystem::path& folder) const;
    /// The same for any other pair of leaves "absolute" and "relative" below `key`.
    VmcFile file(const std::string& key, const std::filesystem::path& folder) const;
    HResult set_file(const std::string& key, const std::filesystem::path& file, const std::filesystem::path& folder);
    /// Names the file in both ways. `place`: 0 to 3 as in drives().
    HResult set_drive(unsigned place, VmcDrive::Type type, const std::filesystem::path& file,
                      const std::filesystem::path& folder);

  private:
    struct Tree;
    Vmc();
    HResult set_leaf(std::string_view key, const char* type, const std::string& text);
    HResult get_leaf(std::string_view key, std::string_view type, std::string& text) const;

    std::unique_ptr<Tree> tree_;
};

}  // namespace vpc::tasks
