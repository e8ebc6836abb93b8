#ifndef BASELINE_POSTGRES_H
#define BASELINE_POSTGRES_H
#include "outcome.h"
#include <libpq-fe.h>

/// A connection that is open; NULL with a text in `error`.
PGconn *baseline_connect(const char *conninfo, struct baseline_error error);

/// Whether a result is what was expected. Otherwise tells why in `error`, frees it, and answers -1.
int baseline_expect(PGconn *connection, PGresult *result, ExecStatusType status, struct baseline_error error);

/// Runs a statement that answers no rows.
int baseline_command(PGconn *connection, const char *statement, struct baseline_error error);
#endif
