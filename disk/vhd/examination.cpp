#include "disk/vhd/examination.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "disk/transfer.h"
#include "disk/vhd/block_examiner.h"
#include "disk/vhd/footer_search.h"
#include "disk/vhd/lost_footer.h"
#include "disk/vhdx/layout.h"

namespace vpc::disk::vhd {
namespace {

using Kind = RepairStep::Kind;

std::string bytes_text(std::uint64_t bytes) {
    return std::to_string(bytes) + (bytes == 1 ? " byte" : " bytes");
}

ImageType type_of(const Footer& footer) {
    return footer.disk_type == DiskType::Fixed          ? ImageType::Fixed
           : footer.disk_type == DiskType::Differencing ? ImageType::Differencing
                                                        : ImageType::Dynamic;
}

template <typename Container>
bool all_zero(const Container& bytes) {
    return std::all_of(bytes.begin(), bytes.end(), [](auto byte) { return byte == 0; });
}

/// Examines one file from its footers to its bitmaps, and gathers what a repair has to do.
class Examiner {
  public:
    Examiner(File& file, std::uint64_t size, bool accept_loss, WorkMeter& meter)
        : file_(file), size_(size), accept_loss_(accept_loss), meter_(meter), findings_(result_.report.findings) {}

    Result<Examination> run() {
        if (auto status = examine_all(); !status) {
            return tl::unexpected<Error>(status.error());
        }
        plan();
        return std::move(result_);
    }

  private:
    Status examine_all() {
        if (auto status = find_footers(); !status || !footer_) {
            return status;
        }
        result_.report.type = type_of(*footer_);
        if (auto checked = check_footer(*footer_, "the image"); !checked) {
            note_damage(checked.error().message);
            return {};
        }
        note_oddities();
        if (footer_->disk_type == DiskType::Fixed) {
            examine_fixed();
            return {};
        }
        return examine_blocks();
    }

    void add(FindingKind kind, Remedy remedy, std::string text) {
        findings_.push_back({.kind = kind, .problem = true, .remedy = remedy, .text = std::move(text)});
    }
    void add_note(FindingKind kind, std::string text) {
        findings_.push_back({.kind = kind, .problem = false, .remedy = Remedy::None, .text = std::move(text)});
    }
    /// What no repair can put right ends the examination.
    void note_damage(const std::string& text) {
        add(FindingKind::HeaderDamaged, Remedy::None, text);
        usable_ = false;
    }

    Result<FooterBytes> read_sector(std::uint64_t offset) {
        FooterBytes bytes = {};
        const std::uint64_t there = offset < size_ ? std::min<std::uint64_t>(bytes.size(), size_ - offset) : 0;
        if (auto status = file_.read(offset, Buffer(bytes).first(there)); !status) {
            return tl::unexpected<Error>(status.error());
        }
        return bytes;
    }

    Status find_footers() {
        const bool old = size_ % kSectorSize == kOldFooterSize;
        const std::uint64_t last = old ? size_ - kOldFooterSize : size_ - kFooterSize;
        const auto end = read_sector(last);
        const auto copy = read_sector(0);
        if (!end || !copy) {
            return tl::unexpected<Error>(end ? copy.error() : end.error());
        }
        const bool copy_is_one = is_intact_footer(*copy) && has_copy_at_start(parse_footer(*copy));
        if (is_intact_footer(*end)) {
            footer_ = parse_footer(*end);
            footer_offset_ = last;
            if (old) {
                add_note(FindingKind::Unusual, "the footer has 511 bytes, as before Virtual PC 2004");
            }
            compare_copy(*copy);
            return {};
        }
        if (copy_is_one) {
            return use_copy(*copy, *end, last);
        }
        const auto fixed = find_footer_before_end(file_, size_, is_fixed_disk_ending_at);
        if (!fixed) {
            return tl::unexpected<Error>(fixed.error());
        }
        if (*fixed) {
            use_inner_footer(**fixed, "bytes");
            return {};
        }
        if (all_zero(*end)) {
            const auto grown = find_footer_before_growth(file_, size_);
            if (!grown) {
                return tl::unexpected<Error>(grown.error());
            }
            if (*grown) {
                use_inner_footer(**grown, "bytes of an enlargement that was interrupted");
                return {};
            }
        }
        return use_damaged_footers(*copy, *end, last);
    }

    /// There is a footer at the end of a file: does its copy say the same?
    void compare_copy(const FooterBytes& copy) {
        if (!has_copy_at_start(*footer_)) {
            return;
        }
        if (!is_intact_footer(copy)) {
            add(FindingKind::CopyDamaged, Remedy::Lossless, "the footer's copy at the start of the file is damaged");
            write_copy_ = true;
        } else if (copy != serialise(*footer_)) {
            add(FindingKind::CopyDiffers, Remedy::Lossless,
                "the footer and its copy at the start of the file differ; the footer counts");
            write_copy_ = true;
        }
    }

    /// The file does not end with a footer; the copy at its start is intact.
    Status use_copy(const FooterBytes& copy, const FooterBytes& end, std::uint64_t last) {
        footer_ = parse_footer(copy);
        const auto inner = find_footer_before_end(
            file_, size_, [this](const Footer& found, std::uint64_t) { return found == *footer_; });
        if (!inner) {
            return tl::unexpected<Error>(inner.error());
        }
        footer_offset_ = size_;
        if (*inner) {
            inner_footer_ = (*inner)->offset;
        }
        if (has_footer_cookie(end)) {
            add(FindingKind::FooterDamaged, Remedy::Lossless,
                "the checksum of the footer is wrong; its copy is intact");
            footer_offset_ = last;
            new_footer_ = last;
            inner_footer_.reset();
        } else if (size_ % kSectorSize == 0 && all_zero(end)) {
            footer_offset_ = last;  // the place of a footer that a power failure has kept from getting there
        }
        if (new_footer_ != last) {
            footer_missing_ = true;  // which of two findings that is depends on the blocks
        }
        return {};
    }

    void use_inner_footer(const LostFooter& found, const std::string& what) {
        footer_ = found.footer;
        footer_offset_ = found.offset;
        add(FindingKind::TrailingBytes, Remedy::Lossless,
            std::to_string(size_ - found.offset - kFooterSize) + " " + what +
                " follow the footer, so the image is taken for a raw one");
        cut_to_ = found.offset + kFooterSize;
    }

    /// No footer is intact. One that has no other fault than its checksum, and no rival, can be used.
    Status use_damaged_footers(const FooterBytes& copy, const FooterBytes& end, std::uint64_t last) {
        const bool at_end = has_footer_cookie(end);
        const bool at_start = has_footer_cookie(copy) && has_copy_at_start(parse_footer(copy));
        if (!at_end && !at_start) {
            return look_for_a_header();
        }
        footer_ = parse_footer(at_end ? end : copy);
        const bool blocked = has_copy_at_start(*footer_);
        footer_offset_ = at_end ? last : size_;
        Remedy remedy = Remedy::Lossless;
        std::string text = "the checksum of the footer is wrong";
        if (blocked) {
            text += at_end && at_start ? ", that of its copy too" : ", and the other one is missing";
            if (at_end && at_start && copy != end) {
                remedy = Remedy::None;
                text += ", and they differ: one of them is right, but nothing says which";
            }
        } else if (!is_fixed_disk_ending_at(*footer_, last)) {
            remedy = Remedy::None;
            text += ", and its size is not that of the file";
        }
        footer_unproven_ = remedy == Remedy::Lossless && blocked;
        if (footer_unproven_) {
            doubtful_footer_ = text;
            return {};
        }
        add(FindingKind::FooterDamaged, remedy, text);
        if (remedy == Remedy::Lossless) {
            new_footer_ = last;
        } else {
            usable_ = false;
        }
        return {};
    }

    /// No footer at all, not even a damaged one: a raw image, or a VHD that has lost both.
    Status look_for_a_header() {
        const auto start = read_sector(0);
        if (!start) {
            return tl::unexpected<Error>(start.error());
        }
        if (std::equal(vhdx::kSignature.begin(), vhdx::kSignature.end(), start->begin())) {
            return fail(ErrorCode::Unsupported,
                        file_.name() + " is a VHDX image, which is only read, not checked; convert it to a VHD");
        }
        DynamicHeaderBytes bytes = {};
        if (size_ >= kFooterSize + bytes.size()) {
            if (auto status = file_.read(kFooterSize, Buffer(bytes)); !status) {
                return status;
            }
        }
        if (is_intact_dynamic_header(bytes)) {
            note_damage(
                "both footers are lost, and nothing else records the size of the disk; restore a copy of the image");
        } else if (size_ % kSectorSize != 0) {
            add(FindingKind::DiskTruncated, Remedy::None,
                "the file has " + bytes_text(size_) + ", and a raw image is made of whole sectors of 512");
        } else {
            add_note(FindingKind::Unusual, "a raw image has no structures that could be checked");
        }
        return {};
    }

    void note_oddities() {
        const auto now =
            std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch())
                .count();
        constexpr std::int64_t kDay = 86400;
        if (time_to_unix(footer_->time_stamp) > now + kDay) {
            add_note(FindingKind::Unusual, "the image says that it was made in the future");
        }
        if (footer_->current_size % kSectorSize != 0) {
            add_note(FindingKind::Unusual,
                     "the size of the disk is no multiple of 512 bytes; the rest cannot be reached");
        }
        if (footer_->saved_state != 0) {
            add_note(FindingKind::Unusual, "the disk belongs to a machine in saved state");
        }
        if (all_zero(footer_->unique_id)) {
            add_note(FindingKind::Unusual, "the image has no id: any image without one can pass for it as a parent");
        }
        if (!all_zero(footer_->reserved)) {
            add_note(FindingKind::Unusual, "reserved bytes of the footer are used, as some programs do");
        }
    }

    void examine_fixed() {
        const std::uint64_t disk = footer_->current_size / kSectorSize * kSectorSize;
        if (!usable_ || disk <= footer_offset_) {
            return;
        }
        add(FindingKind::DiskTruncated, Remedy::Lossy,
            "the last " + bytes_text(disk - footer_offset_) + " of the disk are missing from the file");
        if (accept_loss_) {
            move_footer(disk);
        }
    }

    /// The footer goes further out; where it was, the disk holds zeros.
    void move_footer(std::uint64_t place) {
        if (!footer_missing_ && !new_footer_) {
            zero_footer_ = footer_offset_;
        }
        new_footer_ = place;
    }

    Status examine_blocks() {
        BlockExaminer blocks(file_, *footer_, footer_offset_, findings_, meter_);
        auto status = blocks.examine_header();
        if (!status || !blocks.usable()) {
            usable_ = usable_ && blocks.usable();
            name_missing_footer();
            return status;
        }
        result_.block_size = blocks.header().block_size;
        if (footer_unproven_) {
            judge_unproven_footer(blocks);
            if (!usable_) {
                return {};
            }
        }
        if (inner_footer_ && *inner_footer_ >= blocks.end()) {
            footer_offset_ = *inner_footer_;
            add(FindingKind::TrailingBytes, Remedy::Lossless,
                std::to_string(size_ - footer_offset_ - kFooterSize) + " bytes follow the footer");
            cut_to_ = footer_offset_ + kFooterSize;
            footer_missing_ = false;
        }
        blocks.set_end_of_room(footer_missing_ ? size_ : footer_offset_);
        if (status = blocks.examine_table(); !status) {
            return status;
        }
        name_missing_footer();
        if (footer_offset_ % kSectorSize != 0 && !footer_missing_ && !new_footer_) {
            add(FindingKind::FooterMissing, Remedy::Lossless, "the footer does not begin at a whole sector");
            new_footer_ = blocks.footer_place(size_);
        }
        if (footer_missing_) {
            new_footer_ = std::max(footer_offset_ % kSectorSize == 0 && footer_offset_ + kFooterSize == size_
                                       ? footer_offset_
                                       : blocks.footer_place(size_),
                                   blocks.footer_place(blocks.end()));
        }
        if (blocks.overhang() != Remedy::None && (accept_loss_ || blocks.overhang() == Remedy::Lossless)) {
            move_footer(blocks.footer_place(blocks.end_with_overhang()));
        }
        if (blocks.checksum_to_repair()) {
            header_sector_ = serialise(blocks.header());
        }
        if (accept_loss_) {
            table_sectors_ = blocks.table_without_lost_blocks();
        }
        incomplete_bitmaps_ = blocks.incomplete_bitmaps();
        return {};
    }

    void name_missing_footer() {
        if (footer_missing_) {
            add(FindingKind::FooterMissing, usable_ ? Remedy::Lossless : Remedy::None,
                "there is no footer at the end of the file; its copy at the start is intact");
        }
    }

    /// Footers with wrong checksums: the dynamic disk header, if it is intact and fits, says that the rest is right.
    void judge_unproven_footer(const BlockExaminer& blocks) {
        const bool fits = blocks.header_intact() &&
                          needed_table_entries(footer_->current_size, blocks.header().block_size) ==
                              blocks.header().max_table_entries &&
                          (footer_->disk_type == DiskType::Differencing) != all_zero(blocks.header().parent_unique_id);
        add(FindingKind::FooterDamaged, fits ? Remedy::Lossless : Remedy::None,
            doubtful_footer_ + (fits ? "; the dynamic disk header confirms them"
                                     : "; the dynamic disk header does not confirm what is there"));
        usable_ = fits;
        if (fits) {
            new_footer_ = footer_offset_ < size_ ? footer_offset_ : blocks.footer_place(size_);
            write_copy_ = true;
        }
    }

    void write(std::uint64_t offset, std::vector<std::uint8_t> bytes) {
        result_.steps.push_back({.kind = Kind::Write, .offset = offset, .bytes = std::move(bytes)});
    }
    void barrier() { result_.steps.push_back({.kind = Kind::Barrier}); }

    void plan() {
        if (!footer_ || !usable_) {
            return;
        }
        const FooterBytes footer = serialise(*footer_);
        const std::vector<std::uint8_t> footer_bytes(footer.begin(), footer.end());
        if (new_footer_) {
            write(*new_footer_, footer_bytes);
            barrier();
        }
        if (write_copy_) {
            write(0, footer_bytes);
            barrier();
        }
        if (header_sector_) {
            // The checksum lies in the first of the two sectors, so it changes at once.
            write(footer_->data_offset, {header_sector_->begin(), header_sector_->begin() + kSectorSize});
            barrier();
        }
        for (auto& [offset, bytes] : table_sectors_) {
            write(offset, std::move(bytes));
        }
        if (zero_footer_) {
            write(*zero_footer_, std::vector<std::uint8_t>(kFooterSize));
        }
        for (const auto& bitmap : incomplete_bitmaps_) {
            result_.steps.push_back({.kind = Kind::CompleteBitmap, .offset = bitmap.offset, .sectors = bitmap.sectors});
        }
        if (cut_to_ && !new_footer_) {
            result_.steps.push_back({.kind = Kind::Resize, .offset = *cut_to_});
        }
        if (!result_.steps.empty()) {
            barrier();
        }
    }

    File& file_;
    std::uint64_t size_;
    bool accept_loss_;
    WorkMeter& meter_;
    Examination result_;
    std::vector<Finding>& findings_;

    std::optional<Footer> footer_;
    std::uint64_t footer_offset_ = 0;  ///< where the last footer is; where the file ends if there is none
    std::optional<std::uint64_t> inner_footer_;
    bool footer_missing_ = false;
    bool footer_unproven_ = false;  ///< what is in doubtful_footer_ still has to be judged
    std::string doubtful_footer_;
    bool usable_ = true;  ///< nothing was found that makes a repair a guess

    // What a repair does.
    std::optional<std::uint64_t> new_footer_;
    bool write_copy_ = false;
    std::optional<DynamicHeaderBytes> header_sector_;
    std::map<std::uint64_t, std::vector<std::uint8_t>> table_sectors_;
    std::optional<std::uint64_t> zero_footer_;
    std::vector<BlockExaminer::IncompleteBitmap> incomplete_bitmaps_;
    std::optional<std::uint64_t> cut_to_;
};

}  // namespace

Result<Examination> examine(File& file, bool accept_loss, WorkMeter& meter) {
    const auto size = file.size();
    if (!size) {
        return tl::unexpected<Error>(size.error());
    }
    if (*size < kSectorSize) {
        return fail(ErrorCode::NotAnImage, file.name() + (*size == 0 ? " is empty" : " is shorter than a sector") +
                                               ": it is no disk image; restore a copy of it");
    }
    return Examiner(file, *size, accept_loss, meter).run();
}

}  // namespace vpc::disk::vhd
