#include "disk/vhd/footer_search.h"

#include <algorithm>
#include <array>
#include <cstddef>

#include "disk/transfer.h"
#include "disk/vhd/lost_footer.h"

namespace vpc::disk::vhd {

bool has_copy_at_start(const Footer& footer) {
    return footer.disk_type == DiskType::Dynamic || footer.disk_type == DiskType::Differencing;
}

namespace {

/// The file's bytes at `offset`, or nothing where it is too short.
template <std::size_t size>
Result<std::optional<std::array<std::uint8_t, size>>> read_at(File& file, std::uint64_t file_size,
                                                              std::uint64_t offset) {
    if (offset > file_size || size > file_size - offset) {
        return std::nullopt;
    }
    std::array<std::uint8_t, size> bytes = {};
    if (auto status = file.read(offset, Buffer(bytes)); !status) {
        return tl::unexpected<Error>(status.error());
    }
    return bytes;
}

/// Looks at the start of the file, where guest data of a raw disk may lie as well: a footer counts only together with a
/// dynamic disk header.
Result<std::optional<FoundFooter>> find_copy(File& file, std::uint64_t size, const FooterBytes& copy,
                                             const FooterBytes& end) {
    const Footer footer = parse_footer(copy);
    if (!has_footer_cookie(copy) || !has_copy_at_start(footer)) {
        return std::nullopt;
    }
    const auto header = read_at<kDynamicHeaderSize>(file, size, footer.data_offset);
    if (!header) {
        return tl::unexpected<Error>(header.error());
    }
    if (!*header || parse_dynamic_header(**header).cookie != kDynamicHeaderCookie) {
        return std::nullopt;
    }
    if (!is_intact_footer(copy)) {
        if (!is_intact_dynamic_header(**header)) {
            return std::nullopt;
        }
        return FoundFooter{
            .footer = footer, .offset = size, .damage = "the footer is missing, and the checksum of its copy is wrong"};
    }
    const ConstBuffer last_sector(end);
    if (size % kSectorSize == 0 && all_zeros({&last_sector, 1})) {
        return FoundFooter{.footer = footer, .offset = size, .footer_to_restore = true};
    }
    return FoundFooter{.footer = footer, .offset = size, .damage = "the footer at its end is missing or damaged"};
}

}  // namespace

Result<std::optional<FoundFooter>> find_footer(File& file, std::uint64_t size) {
    const auto end = read_at<kFooterSize>(file, size, size - kFooterSize);
    const auto copy = read_at<kFooterSize>(file, size, 0);
    if (!end || !copy) {
        return tl::unexpected<Error>(end ? copy.error() : end.error());
    }
    const auto at_end = [&](const FooterBytes& bytes, std::uint64_t offset) {
        FoundFooter found = {.footer = parse_footer(bytes), .offset = offset};
        if (has_copy_at_start(found.footer) && is_intact_footer(**copy) && **copy != bytes) {
            found.copy_differs = true;
        }
        return found;
    };
    if (is_intact_footer(**end)) {
        return at_end(**end, size - kFooterSize);
    }
    FooterBytes old_end = {};
    if (size % kSectorSize == kOldFooterSize) {
        std::copy((*end)->begin() + 1, (*end)->end(), old_end.begin());
        if (is_intact_footer(old_end)) {
            return at_end(old_end, size - kOldFooterSize);
        }
    }
    auto from_copy = find_copy(file, size, **copy, **end);
    if (!from_copy || (*from_copy && is_intact_footer(**copy))) {
        return from_copy;
    }
    const std::string damage = "the checksum of its footer is wrong";
    if (has_footer_cookie(**end)) {
        return FoundFooter{.footer = parse_footer(**end), .offset = size - kFooterSize, .damage = damage};
    }
    if (has_footer_cookie(old_end)) {
        return FoundFooter{.footer = parse_footer(old_end), .offset = size - kOldFooterSize, .damage = damage};
    }
    if (const ConstBuffer last_sector(**end); from_copy && !*from_copy && all_zeros({&last_sector, 1})) {
        const auto grown = find_footer_before_growth(file, size);
        if (!grown) {
            return tl::unexpected<Error>(grown.error());
        }
        if (*grown) {
            return FoundFooter{.footer = (*grown)->footer, .offset = (*grown)->offset, .growth_to_undo = true};
        }
    }
    return from_copy;
}

Result<LoadedHeader> load_dynamic_header(File& file, const Footer& footer, std::uint64_t footer_offset) {
    const std::string& name = file.name();
    if (footer.data_offset < kFooterSize || footer.data_offset % kSectorSize != 0 ||
        footer.data_offset > footer_offset || kDynamicHeaderSize > footer_offset - footer.data_offset) {
        return fail(ErrorCode::Corrupt,
                    name + " is damaged: its dynamic disk header lies outside the file; restore a copy of it");
    }
    DynamicHeaderBytes bytes;
    if (auto status = file.read(footer.data_offset, Buffer(bytes)); !status) {
        return tl::unexpected<Error>(status.error());
    }
    LoadedHeader loaded = {.header = parse_dynamic_header(bytes), .intact = is_intact_dynamic_header(bytes)};
    if (loaded.header.cookie != kDynamicHeaderCookie) {
        return fail(ErrorCode::Corrupt,
                    name + " is damaged: it has no dynamic disk header where its footer says; restore a copy of it");
    }
    if (auto status = check_dynamic_header(loaded.header, footer, footer_offset, name); !status) {
        return tl::unexpected<Error>(status.error());
    }
    return loaded;
}

std::string text_of_id(const std::array<std::uint8_t, 16>& id) {
    static constexpr char kDigits[] = "0123456789abcdef";
    std::string text;
    for (std::size_t i = 0; i < id.size(); ++i) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            text += '-';
        }
        text += kDigits[id[i] >> 4];
        text += kDigits[id[i] & 0xF];
    }
    return text;
}

}  // namespace vpc::disk::vhd
