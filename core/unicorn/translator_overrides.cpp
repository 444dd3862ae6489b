#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>

#include "core/unicorn/engine_overrides.h"
#include "core/unicorn/override_tools.h"

// The engine functions that are replaced around its translation of guest code; all others are in engine_overrides.cpp.

namespace vpc::unicorn {
namespace {

/// What the engine's loop over the instructions of a block knows of it (DisasContextBase in QEMU 5.0,
/// exec/translator.h). The engine's own state of the translator follows.
struct BlockTranslation {
    const void* block;
    std::uint64_t first;  // linear addresses
    std::uint64_t next;
    std::uint32_t end;  // why the block ends: kGoesOn, kEndsBeforeNext, or a matter between the translator's functions
    std::int32_t instructions;
    std::int32_t most_instructions;
};
constexpr std::uint32_t kGoesOn = 0;          // DISAS_NEXT
constexpr std::uint32_t kEndsBeforeNext = 1;  // DISAS_TOO_MANY

/// What that loop calls (TranslatorOps there).
struct TranslatorFunctions {
    std::array<void (*)(), 4> before;
    void (*translate_instruction)(BlockTranslation*, void* cpu);
    std::array<void (*)(), 2> behind;
};

/// A translation that is going on.
struct Translation {
    sigjmp_buf* give_up = nullptr;  ///< where abort() goes; null: none is going on
    void* highest_temporary = nullptr;
    unsigned temporaries = 0;
    // What the translator reads instead of the guest's memory: `disguised` bytes at a linear address.
    std::uint64_t disguise_address = 0;
    std::size_t disguised = 0;
    std::array<std::uint8_t, kLongestRepeatedString> disguise{};
    // What override 13 was given.
    const TranslatorFunctions* functions = nullptr;
    const void* block = nullptr;
    int most_instructions = 0;
};
thread_local Translation translation;

struct Originals {
    void* (*tb_gen_code)(void*, std::uint64_t, std::uint64_t, std::uint32_t, int);
    void (*translator_loop)(const void*, void*, void*, void*, int);
    void* (*temp_new)(void*, int, bool);
    void (*cpu_loop_exit)(void*);
    void (*raise_exception_err_ra)(void*, int, int, std::uintptr_t);
    std::uint32_t (*ldub_code)(void*, std::uint64_t);
    void (*abort)();
    void (*assert_fail)(const char*, const char*, unsigned, const char*);
};

const Originals original = [] {
    Originals all{};
    resolve(all.tb_gen_code, "tb_gen_code_x86_64");
    resolve(all.translator_loop, "translator_loop_x86_64");
    resolve(all.temp_new, "tcg_temp_new_internal_x86_64");
    resolve(all.cpu_loop_exit, "cpu_loop_exit_x86_64");
    resolve(all.raise_exception_err_ra, "raise_exception_err_ra_x86_64");
    resolve(all.ldub_code, "cpu_ldub_code_x86_64");
    resolve(all.abort, "abort");
    resolve(all.assert_fail, "__assert_fail");
    return all;
}();

constexpr int kInvalidOpcode = 6;
// The part of a translation's flags that limits the number of its instructions.
constexpr int kInstructionLimit = 0x7FFF;
// The engine has room for 512 temporaries in a block, some 40 of which are taken from the start, and does not look.
constexpr unsigned kMostTemporaries = 450;

/// The block, or null when the engine gave up.
[[gnu::noinline]] void* translate(void* cpu, std::uint64_t pc, std::uint64_t cs_base, std::uint32_t flags, int cflags) {
    sigjmp_buf here;
    if (sigsetjmp(here, 0) != 0) {
        translation.give_up = nullptr;
        return nullptr;
    }
    translation.give_up = &here;
    translation.highest_temporary = nullptr;
    translation.temporaries = 0;
    void* block = original.tb_gen_code(cpu, pc, cs_base, flags, cflags);
    translation.give_up = nullptr;
    return block;
}

/// Lets the translator read RDTSC where the block at the linear address `pc` begins with REP MOVS or REP STOS: blocks
/// do, from the second element on.
void disguise(std::uint64_t pc, std::uint32_t flags, int cflags) {
    translation.disguised = 0;
    constexpr std::uint32_t kOneInstruction = hflag::kTrap | hflag::kInterruptShadow;
    const OverrideClient* client = override_client();
    if (!client->repeated_strings || (flags & kOneInstruction) != 0 || (cflags & kInstructionLimit) != 0) {
        return;
    }
    constexpr std::uint64_t kPage = 0xFFF;
    const bool code32 = (flags & hflag::kCode32) != 0;
    const std::size_t left = std::min<std::size_t>(translation.disguise.size(), kPage + 1 - (pc & kPage));
    std::size_t size = 0;
    do {
        translation.disguise[size] = static_cast<std::uint8_t>(original.ldub_code(client->engine_env, pc + size));
    } while (is_prefix(translation.disguise[size++]) && size < left);
    const std::span<std::uint8_t> code(translation.disguise.data(), size);
    if (decode_repeated_string(code, code32)) {
        disguise_repeated_string(code);
        translation.disguise_address = pc;
        translation.disguised = size;
    }
}

void give_up_translation() {
    if (translation.give_up != nullptr) {
        siglongjmp(*translation.give_up, 1);
    }
}

/// LOOPE or LOOPNE at the linear address. Reads no more of the guest's memory than the translator is about to.
bool is_conditional_loop(std::uint64_t address) {
    constexpr unsigned kLongestInstruction = 15;
    for (unsigned i = 0; i < kLongestInstruction; ++i) {
        const auto byte = static_cast<std::uint8_t>(original.ldub_code(override_client()->engine_env, address + i));
        if ((byte & 0xFE) == 0xE0) {
            return true;
        }
        constexpr std::uint8_t kLock = 0xF0;  // which the engine overlooks here
        if (byte != kLock && !is_prefix(byte)) {
            return false;
        }
    }
    return false;
}

void translate_instruction(BlockTranslation* block, void* cpu) {
    const Translation& going_on = translation;
    const bool as_expected = block->block == going_on.block && block->end == kGoesOn && block->first <= block->next &&
                             block->instructions > 0 && block->most_instructions == going_on.most_instructions &&
                             block->instructions <= block->most_instructions;
    if (as_expected && block->instructions > 1 && is_conditional_loop(block->next)) {
        --block->instructions;  // the loop has counted this one
        block->end = kEndsBeforeNext;
        return;
    }
    going_on.functions->translate_instruction(block, cpu);
}

}  // namespace
}  // namespace vpc::unicorn

using vpc::unicorn::original;

// Override 7. The engine does not survive a translation buffer that fills up during a run: it goes on to link blocks
// that are gone. Watching where blocks are put, the CPU empties the buffer in time, between two runs.
//
// Nor does it survive a block with more than 512 temporaries: it writes behind their array. Long blocks of some
// instructions have that many. And its translator calls abort() for some that no assembler writes, such as LOCK BTS
// with a register operand. So blocks are translated again in smaller pieces, down to a single instruction, so that what
// stands before the culprit still runs; the culprit itself is none on any processor and raises #UD.
VPC_OVERRIDE void* tb_gen_code_x86_64(void* cpu, std::uint64_t pc, std::uint64_t cs_base, std::uint32_t flags,
                                      int cflags) {
    vpc::unicorn::OverrideClient* client = vpc::unicorn::override_client();
    if (client == nullptr || client->engine_env == nullptr) {
        return original.tb_gen_code(cpu, pc, cs_base, flags, cflags);
    }
    client->engine_cpu = cpu;
    vpc::unicorn::disguise(pc, flags, cflags);
    void* block = vpc::unicorn::translate(cpu, pc, cs_base, flags, cflags);
    for (const int instructions : {32, 1}) {
        if (block == nullptr) {
            const int limited = (cflags & ~vpc::unicorn::kInstructionLimit) | instructions;
            block = vpc::unicorn::translate(cpu, pc, cs_base, flags, limited);
        }
    }
    if (block == nullptr) {
        vpc::unicorn::translation.disguised = 0;
        original.raise_exception_err_ra(client->engine_env, vpc::unicorn::kInvalidOpcode, 0, 0);
    }
    vpc::unicorn::translation.disguised = 0;
    client->block_translated(block);
    return block;
}

// Temporaries that the engine makes anew lie at rising addresses; those it uses again do not.
VPC_OVERRIDE void* tcg_temp_new_internal_x86_64(void* context, int type, bool local) {
    auto& translation = vpc::unicorn::translation;
    void* temporary = original.temp_new(context, type, local);
    if (temporary > translation.highest_temporary) {
        translation.highest_temporary = temporary;
        if (++translation.temporaries > vpc::unicorn::kMostTemporaries) {
            vpc::unicorn::give_up_translation();
        }
    }
    return temporary;
}

// Leaves a translation whose code cannot be fetched, among other things.
VPC_OVERRIDE void cpu_loop_exit_x86_64(void* cpu) {
    vpc::unicorn::translation.give_up = nullptr;
    vpc::unicorn::translation.disguised = 0;
    original.cpu_loop_exit(cpu);
}

// NOLINTBEGIN(readability-identifier-naming): the C library's names
VPC_OVERRIDE __attribute__((noreturn)) void abort() noexcept {
    vpc::unicorn::give_up_translation();
    original.abort();
    __builtin_trap();
}

VPC_OVERRIDE __attribute__((noreturn)) void __assert_fail(const char* assertion, const char* file, unsigned line,
                                                          const char* function) noexcept {
    vpc::unicorn::give_up_translation();
    original.assert_fail(assertion, file, line, function);
    __builtin_trap();
}

// What the engine prints before it calls abort(): a guest must not write to the terminal.
extern "C" int __vfprintf_chk(FILE* stream, int flag, const char* format, va_list arguments);
VPC_OVERRIDE int __fprintf_chk(FILE* stream, int flag, const char* format, ...) {
    if (vpc::unicorn::translation.give_up != nullptr) {
        return 0;
    }
    va_list arguments;
    va_start(arguments, format);
    const int result = __vfprintf_chk(stream, flag, format, arguments);
    va_end(arguments);
    return result;
}
// NOLINTEND(readability-identifier-naming)

// Override 11. The translator reads RDTSC in place of some instructions: see repeated_strings.h.
VPC_OVERRIDE std::uint32_t cpu_ldub_code_x86_64(void* env, std::uint64_t address) {
    const auto& translation = vpc::unicorn::translation;
    const std::uint64_t index = address - translation.disguise_address;
    return index < translation.disguised ? translation.disguise[index] : original.ldub_code(env, address);
}

// Override 13. Behind a LOOPE or LOOPNE whose count has run out, the engine does not know which instruction of the
// block has set the flags last, and makes them up from its operands: a program may lose ZF or, when it is stopped
// there, find an operand in EFLAGS. The first instruction of a block has no such trouble, so here they always begin
// one.
VPC_OVERRIDE void translator_loop_x86_64(const void* functions, void* translator, void* cpu, void* block,
                                         int most_instructions) {
    auto& translation = vpc::unicorn::translation;
    if (translation.give_up == nullptr) {
        original.translator_loop(functions, translator, cpu, block, most_instructions);
        return;
    }
    translation.functions = static_cast<const vpc::unicorn::TranslatorFunctions*>(functions);
    translation.block = block;
    translation.most_instructions = most_instructions;
    vpc::unicorn::TranslatorFunctions ours = *translation.functions;
    ours.translate_instruction = vpc::unicorn::translate_instruction;
    original.translator_loop(&ours, translator, cpu, block, most_instructions);
}

namespace vpc::unicorn {

bool translator_overrides_are_linked() {
    return dlsym(RTLD_DEFAULT, "translator_loop_x86_64") == reinterpret_cast<void*>(&translator_loop_x86_64);
}

}  // namespace vpc::unicorn
