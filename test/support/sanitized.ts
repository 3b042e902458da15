/** Whether the addons are built under a sanitizer: slower by far, with handlers of its own. What is
 * only a matter of time or of statistics is left out then. */
export const isSanitized = process.env.MILLRACE_SANITIZE !== undefined
