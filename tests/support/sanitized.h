/* True in a build with AddressSanitizer, whose own memory makes limits and page counts meaningless. */
#ifndef SUPPORT_SANITIZED_H
#define SUPPORT_SANITIZED_H

#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

#endif
