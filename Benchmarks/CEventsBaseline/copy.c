#include "events_baseline.h"
#include "postgres.h"

/// libpq sends what it has beyond 8 KiB at once; a larger piece only makes it copy into a larger buffer.
static const size_t piece = 64 * 1024;

static int copy(
    PGconn *connection, const char *statement, const char *bytes, size_t size, struct baseline_error error
) {
    PGresult *result = PQexec(connection, statement);
    if (baseline_expect(connection, result, PGRES_COPY_IN, error) != 0) return -1;
    PQclear(result);
    for (size_t sent = 0; sent < size;) {
        size_t length = size - sent < piece ? size - sent : piece;
        if (PQputCopyData(connection, bytes + sent, (int)length) != 1) {
            return baseline_fail(error, "%s", PQerrorMessage(connection));
        }
        sent += length;
    }
    if (PQputCopyEnd(connection, NULL) != 1) return baseline_fail(error, "%s", PQerrorMessage(connection));
    result = PQgetResult(connection);
    if (baseline_expect(connection, result, PGRES_COMMAND_OK, error) != 0) return -1;
    PQclear(result);
    // The end of the statement, which frees the connection for the next one.
    result = PQgetResult(connection);
    if (result == NULL) return 0;
    PQclear(result);
    return baseline_fail(error, "%s is more than one statement", statement);
}

static int run(
    PGconn *connection, const char *const statements[], const char *const bytes[], const size_t sizes[], size_t count,
    struct baseline_error error
) {
    if (baseline_command(connection, "BEGIN", error) != 0) return -1;
    for (size_t index = 0; index < count; index++) {
        if (copy(connection, statements[index], bytes[index], sizes[index], error) != 0) return -1;
    }
    return baseline_command(connection, "COMMIT", error);
}

int lantern_c_copy(
    const char *conninfo, const char *statement, const char *bytes, size_t size, char *error, size_t error_size,
    double *seconds
) {
    struct baseline_error failure = {error, error_size};
    PGconn *connection = baseline_connect(conninfo, failure);
    if (connection == NULL) return -1;
    double start = baseline_now();
    int status = copy(connection, statement, bytes, size, failure);
    *seconds = baseline_now() - start;
    PQfinish(connection);
    return status;
}

int lantern_c_copy_all(
    const char *conninfo, const char *const statements[], const char *const bytes[], const size_t sizes[], size_t count,
    size_t transactions, char *error, size_t error_size, double *seconds
) {
    struct baseline_error failure = {error, error_size};
    PGconn *connection = baseline_connect(conninfo, failure);
    if (connection == NULL) return -1;
    int status = 0;
    double start = baseline_now();
    for (size_t index = 0; status == 0 && index < transactions; index++) {
        status = run(connection, statements, bytes + index * count, sizes + index * count, count, failure);
    }
    *seconds = baseline_now() - start;
    // What a failure left open is rolled back by the end of the session.
    PQfinish(connection);
    return status;
}
