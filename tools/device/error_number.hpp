// SPDX-License-Identifier: MIT
// error_number(): the errno that says best what libmitosis's last call failed of. World: user.
#pragma once

#include <mitosis/mitosis.h>

#include <cerrno>

namespace mitosis::device {

inline int error_number(int failure) noexcept {
  switch (failure) {
    case MITOSIS_EINVALID:
    case MITOSIS_EPOLICY_UNKNOWN:
    case MITOSIS_EPOLICY_NOT_COMPILED:
      return EINVAL;
    case MITOSIS_EUNKNOWN_HANDLER:
    case MITOSIS_EFILE_MISSING:
      return ENOENT;
    case MITOSIS_EHANDLER_IN_USE:
      return EEXIST;
    case MITOSIS_EWRONG_KEY:
    case MITOSIS_ENOT_PERMITTED:
    case MITOSIS_EPRIVILEGE:
    case MITOSIS_EAUTHENTICATION:
      return EACCES;
    case MITOSIS_ENO_AGENT:
      return ENXIO;
    case MITOSIS_EMACHINE_UNKNOWN:
    case MITOSIS_EMACHINE_UNREACHABLE:
      return EHOSTUNREACH;
    case MITOSIS_ECONNECTION_LOST:
      return ECONNRESET;
    case MITOSIS_ETIMED_OUT:
      return ETIMEDOUT;
    case MITOSIS_EUNSUPPORTED_PROCESS:
    case MITOSIS_EUNSUPPORTED_FILE:
      return EOPNOTSUPP;
    case MITOSIS_EBUDGET:
    case MITOSIS_ENO_MEMORY:
    case MITOSIS_ELIMIT:
      return ENOMEM;
    default:
      return EIO;
  }
}

}  // namespace mitosis::device
