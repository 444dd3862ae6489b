/* session USER LINE: is logged on at a terminal until that hangs up, as login(1) and the shell behind it are. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>
#include <utmpx.h>

static void note(const char* user, const char* line, short type) {
    struct utmpx entry;
    struct timeval now;
    memset(&entry, 0, sizeof entry);
    gettimeofday(&now, NULL);
    entry.ut_type = type;
    entry.ut_pid = getpid();
    entry.ut_tv.tv_sec = now.tv_sec;
    strncpy(entry.ut_line, line, sizeof entry.ut_line - 1);
    strncpy(entry.ut_id, line + 3, sizeof entry.ut_id - 1);
    if (type == USER_PROCESS) {
        strncpy(entry.ut_user, user, sizeof entry.ut_user - 1);
    }
    setutxent();
    pututxline(&entry);
    endutxent();
}

int main(int argc, char** argv) {
    char device[64];
    sigset_t hang_up;
    int signal_number;
    if (argc != 3) {
        return 2;
    }
    snprintf(device, sizeof device, "/dev/%s", argv[2]);
    setsid();
    close(0);
    if (open(device, O_RDWR) != 0) {
        return 1;
    }
    sigemptyset(&hang_up);
    sigaddset(&hang_up, SIGHUP);
    sigprocmask(SIG_BLOCK, &hang_up, NULL);
    note(argv[1], argv[2], USER_PROCESS);
    sigwait(&hang_up, &signal_number);
    note(argv[1], argv[2], DEAD_PROCESS);
    return 0;
}
