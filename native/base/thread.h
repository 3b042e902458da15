#pragma once
// What threads do at their beginning. Threads: any, of itself.

namespace millrace {

// For debuggers; at most 15 characters.
void name_this_thread(const char* name);

// Names this thread and lets others of the process go first, where the system can.
void begin_background_thread(const char* name);

}  // namespace millrace
