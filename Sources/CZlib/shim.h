#ifndef LANTERN_CZLIB_SHIM_H
#define LANTERN_CZLIB_SHIM_H
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

/// Upper bound in bytes of what `lantern_gzip` writes for `length` bytes of input.
static inline size_t lantern_gzip_bound(size_t length) {
    return compressBound(length) + 32;
}

/// Writes `input` as one gzip member (RFC 1952) into `output`; answers the bytes written, or 0 on failure.
/// `deflateInit2` is a macro, which Swift cannot import; that is why these lines are C.
static inline size_t lantern_gzip(
    const unsigned char *input, size_t length, unsigned char *output, size_t capacity, int level
) {
    z_stream stream;
    memset(&stream, 0, sizeof stream);
    if (length > 0xffffffffu || capacity > 0xffffffffu) return 0;
    if (deflateInit2(&stream, level, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) return 0;
    stream.next_in = (Bytef *)input;
    stream.avail_in = (uInt)length;
    stream.next_out = output;
    stream.avail_out = (uInt)capacity;
    int status = deflate(&stream, Z_FINISH);
    size_t written = stream.total_out;
    deflateEnd(&stream);
    return status == Z_STREAM_END ? written : 0;
}

/// A gzip stream; NULL where memory is out.
typedef struct lantern_gzip_stream lantern_gzip_stream;
struct lantern_gzip_stream { z_stream stream; };

static inline lantern_gzip_stream *lantern_gzip_open(int level) {
    lantern_gzip_stream *gzip = calloc(1, sizeof *gzip);
    if (gzip == NULL) return NULL;
    if (deflateInit2(&gzip->stream, level, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK) return gzip;
    free(gzip);
    return NULL;
}

static inline void lantern_gzip_close(lantern_gzip_stream *gzip) {
    deflateEnd(&gzip->stream);
    free(gzip);
}

/// Hands over input, which must stay where it is until lantern_gzip_drain has answered less than its capacity.
static inline void lantern_gzip_feed(lantern_gzip_stream *gzip, const unsigned char *input, size_t length) {
    gzip->stream.next_in = (Bytef *)input;
    gzip->stream.avail_in = (uInt)length;
}

/// Writes what is ready, at most `capacity` bytes; less than that when the input is used up.
static inline size_t lantern_gzip_drain(lantern_gzip_stream *gzip, unsigned char *output, size_t capacity, int finish) {
    gzip->stream.next_out = output;
    gzip->stream.avail_out = (uInt)capacity;
    deflate(&gzip->stream, finish ? Z_FINISH : Z_NO_FLUSH);
    return capacity - gzip->stream.avail_out;
}
#endif
