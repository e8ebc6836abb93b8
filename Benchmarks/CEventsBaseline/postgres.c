#include "postgres.h"

PGconn *baseline_connect(const char *conninfo, struct baseline_error error) {
    PGconn *connection = PQconnectdb(conninfo);
    if (PQstatus(connection) == CONNECTION_OK) return connection;
    baseline_fail(error, "%s", PQerrorMessage(connection));
    PQfinish(connection);
    return NULL;
}

int baseline_expect(PGconn *connection, PGresult *result, ExecStatusType status, struct baseline_error error) {
    if (PQresultStatus(result) == status) return 0;
    const char *message = PQerrorMessage(connection);
    if (message[0] == 0) message = PQresStatus(PQresultStatus(result));
    baseline_fail(error, "%s", message);
    PQclear(result);
    return -1;
}

int baseline_command(PGconn *connection, const char *statement, struct baseline_error error) {
    PGresult *result = PQexec(connection, statement);
    if (baseline_expect(connection, result, PGRES_COMMAND_OK, error) != 0) return -1;
    PQclear(result);
    return 0;
}
