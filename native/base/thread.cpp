#include "base/thread.h"

#if defined(__linux__) || defined(__APPLE__)
#include <pthread.h>
#endif
#if defined(__linux__)
#include <sys/resource.h>
#elif defined(__APPLE__)
#include <pthread/qos.h>
#endif

namespace millrace {

void name_this_thread(const char* name) {
#if defined(__linux__)
  pthread_setname_np(pthread_self(), name);
#elif defined(__APPLE__)
  pthread_setname_np(name);
#else
  (void)name;
#endif
}

void begin_background_thread(const char* name) {
  name_this_thread(name);
#if defined(__linux__)
  // Linux keeps a nice value per thread, against POSIX, and 0 is the caller: 10 is a tenth of a
  // share.
  constexpr int k_nice = 10;
  setpriority(PRIO_PROCESS, 0, k_nice);
#elif defined(__APPLE__)
  pthread_set_qos_class_self_np(QOS_CLASS_UTILITY, 0);
#endif
}

}  // namespace millrace
