#ifndef LANTERN_CZLIB_SHIM_H
#define LANTERN_CZLIB_SHIM_H
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
#endif
