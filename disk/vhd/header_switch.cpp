#include "disk/vhd/header_switch.h"

#include <algorithm>

namespace vpc::disk::vhd {
namespace {

Status write_and_sync(File& file, std::uint64_t offset, ConstBuffer bytes) {
    auto status = file.write(offset, bytes);
    return status ? file.sync() : status;
}

}  // namespace

Status change_footers(File& file, const Footer& footer, std::uint64_t offset) {
    const FooterBytes bytes = serialise(footer);
    auto status = write_and_sync(file, 0, bytes);
    return status ? write_and_sync(file, offset, bytes) : status;
}

Status switch_header(File& file, const HeaderSwitch& change) {
    const bool aligned = (change.old_footer_offset + kFooterSize) % 4096 == 0;
    const std::uint64_t room = std::max(change.room, change.old_footer_offset + kFooterSize);
    const std::uint64_t scratch = (room + kSectorSize - 1) / kSectorSize * kSectorSize;
    const std::uint64_t outer = footer_place(scratch + kDynamicHeaderSize, aligned);
    if (auto status = write_and_sync(file, outer, serialise(change.old_footer)); !status) {
        return status;
    }
    if (auto status = change.prepare(); !status) {
        return status;
    }
    const DynamicHeaderBytes header = serialise(change.header);
    if (auto status = write_and_sync(file, scratch, header); !status) {
        return status;
    }
    Footer footer = change.footer;
    footer.data_offset = scratch;
    if (auto status = change_footers(file, footer, outer); !status) {
        return status;
    }
    if (change.prepare_afterwards) {
        if (auto status = change.prepare_afterwards(); !status) {
            return status;
        }
    }
    const DynamicHeaderBytes last = change.header_afterwards ? serialise(*change.header_afterwards) : header;
    if (auto status = write_and_sync(file, change.footer.data_offset, last); !status) {
        return status;
    }
    if (auto status = change_footers(file, change.footer, outer); !status) {
        return status;
    }
    const std::uint64_t place = footer_place(change.end, aligned);
    if (place >= outer) {
        return {};
    }
    auto status = write_and_sync(file, place, serialise(change.footer));
    status = status ? file.truncate(place + kFooterSize) : status;
    return status ? file.sync() : status;
}

}  // namespace vpc::disk::vhd
