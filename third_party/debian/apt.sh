# Functions for bash scripts that fetch Debian packages; to be sourced. No archive address is written down anywhere:
# whatever archive the machine already uses for its own release also serves what we add.
# shellcheck shell=bash

# Prints "ADDRESS|FILE:LINE" of the archive entry that serves `main` of the machine's own release.
debian_archive_entry() {
    local codename
    codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    # Before the first `apt-get update` apt does not know origins and code names, and prints those fields as they are.
    apt-get indextargets --format '$(RELEASE)|$(CODENAME)|$(COMPONENT)|$(ORIGIN)|$(REPO_URI)|$(SOURCESENTRY)' 'Created-By: Packages' |
        awk -F'|' -v codename="$codename" '
            ($1 == codename || $2 == codename) && $3 == "main" && ($4 == "Debian" || $4 == "$(ORIGIN)") { print $5 "|" $6; exit }'
}

debian_archive() {
    local entry
    entry=$(debian_archive_entry)
    echo "${entry%%|*}"
}

# The keyring that entry names with Signed-By; nothing when apt's trusted keys are used, as they then serve us too.
debian_archive_keyring() {
    local entry file line
    entry=$(debian_archive_entry)
    entry=${entry#*|}
    file=${entry%:*} line=${entry##*:}
    [ -r "$file" ] || return 0
    awk -v line="$line" -v deb822="$([[ $file == *.sources ]] && echo 1)" '
        NR < line { next }
        deb822 && /^[[:space:]]*$/ { exit }
        deb822 && tolower($1) == "signed-by:" && $2 ~ /^\// { print $2; exit }
        !deb822 { if (match($0, /signed-by=\/[^] ]+/)) print substr($0, RSTART + 10, RLENGTH - 10); exit }' "$file"
}

# retry COUNT COMMAND...: archives that are just being synchronised refuse a list for a minute or so.
retry() {
    local left=$1
    shift
    until "$@"; do
        left=$((left - 1))
        [ "$left" -gt 0 ] || return 1
        echo "retrying: $*" >&2
        sleep "${RETRY_DELAY:-10}"
    done
}
