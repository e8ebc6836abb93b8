import HTTPTypes
import Hummingbird
import NIOCore
import Synchronization

/// Writes a response body into memory.
struct CollectingWriter: ResponseBodyWriter {
    final class Box: Sendable {
        private let collected = Mutex<[UInt8]>([])
        var bytes: [UInt8] { self.collected.withLock { $0 } }
        func append(_ buffer: ByteBuffer) {
            self.collected.withLock { $0.append(contentsOf: buffer.readableBytesView) }
        }
    }

    let box: Box

    mutating func write(_ buffer: ByteBuffer) async throws { self.box.append(buffer) }

    consuming func finish(_ trailingHeaders: HTTPFields?) async throws {}
}
