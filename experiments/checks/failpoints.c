/* Asks before and after every atomic step of a process whether it is to be killed.

   Loaded with LD_PRELOAD, it stands between a program, all its libraries and the C
   library, so that steps of tensorstore and Orbax are seen like those of Python. Steps
   are new files, renames, links, deletions, locks, and writes to files that are appended
   to. Each is announced on the socket that FAILPOINTS names, as "MOMENT STEP PATH\n",
   and waits for one byte: 'k' kills the process as a power cut would, anything else lets
   it go on. Processes without FAILPOINTS are left alone. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int connection = -1;
static pid_t owner = 0;

static int connected(const char *name) {
  if (owner == getpid()) return connection;
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strncpy(address.sun_path, name, sizeof(address.sun_path) - 1);
  connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connect(connection, (struct sockaddr *)&address, sizeof(address))) abort();
  owner = getpid();
  return connection;
}

static void ask(const char *moment, const char *step, const char *path) {
  const char *name = getenv("FAILPOINTS");
  if (!name || !path) return;
  int before = errno;
  char line[PATH_MAX + 64], answer = 0;
  int length = snprintf(line, sizeof(line), "%s %s %s\n", moment, step, path);
  pthread_mutex_lock(&mutex);
  int to = connected(name);
  if (send(to, line, length, MSG_NOSIGNAL) != length || recv(to, &answer, 1, 0) != 1)
    abort();
  if (answer == 'k') kill(getpid(), SIGKILL);
  pthread_mutex_unlock(&mutex);
  errno = before;
}

static const char *path_of(int fd, char *path) {
  char link[64];
  snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, PATH_MAX - 1);
  if (length < 0) return NULL;
  path[length] = 0;
  return path;
}

#define STEP(step, path, call)                     \
  ask("before", step, path);                       \
  int result = call;                               \
  if (!result) ask("after", step, path);           \
  return result

int rename(const char *from, const char *to) {
  STEP("rename", to, REAL(rename)(from, to));
}

int renameat(int a, const char *from, int b, const char *to) {
  STEP("rename", to, REAL(renameat)(a, from, b, to));
}

int renameat2(int a, const char *from, int b, const char *to, unsigned flags) {
  STEP("rename", to, REAL(renameat2)(a, from, b, to, flags));
}

int link(const char *from, const char *to) { STEP("link", to, REAL(link)(from, to)); }

int linkat(int a, const char *from, int b, const char *to, int flags) {
  STEP("link", to, REAL(linkat)(a, from, b, to, flags));
}

int unlink(const char *path) { STEP("delete", path, REAL(unlink)(path)); }

int unlinkat(int folder, const char *path, int flags) {
  STEP("delete", path, REAL(unlinkat)(folder, path, flags));
}

int rmdir(const char *path) { STEP("delete", path, REAL(rmdir)(path)); }

static int created(int fd, int flags, const char *path) {
  if (fd >= 0 && (flags & O_CREAT) && (flags & (O_TRUNC | O_EXCL)))
    ask("after", "create", path);
  return fd;
}

/* glibc's `open` and `open64` do the same here, and so do `openat` and `openat64`. */
#define OPEN(name)                                          \
  int name(const char *path, int flags, ...) {              \
    va_list rest;                                           \
    va_start(rest, flags);                                  \
    mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0; \
    va_end(rest);                                           \
    return created(REAL(name)(path, flags, mode), flags, path); \
  }
#define OPENAT(name)                                        \
  int name(int folder, const char *path, int flags, ...) {  \
    va_list rest;                                           \
    va_start(rest, flags);                                  \
    mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0; \
    va_end(rest);                                           \
    return created(REAL(name)(folder, path, flags, mode), flags, path); \
  }

OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

int flock(int fd, int operation) {
  char path[PATH_MAX];
  int result = REAL(flock)(fd, operation);
  if (!result && !(operation & LOCK_UN)) ask("after", "lock", path_of(fd, path));
  return result;
}

ssize_t write(int fd, const void *data, size_t size) {
  char path[PATH_MAX];
  struct stat status;
  int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || !(flags & O_APPEND) || fstat(fd, &status) || size < 2 ||
      !S_ISREG(status.st_mode) || !getenv("FAILPOINTS"))
    return REAL(write)(fd, data, size);
  ask("before", "append", path_of(fd, path));
  ssize_t half = REAL(write)(fd, data, size / 2);
  if (half < 0) return half;
  ask("amid", "append", path_of(fd, path));
  ssize_t rest = REAL(write)(fd, (const char *)data + half, size - half);
  ask("after", "append", path_of(fd, path));
  return rest < 0 ? half : half + rest;
}
