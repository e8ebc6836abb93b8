import Hummingbird
import NIOCore
import Synchronization

extension Response {
    /// Calls `finish` once with the bytes of the body: at once where they are known, when the stream has ended or broken
    /// off where they are not.
    mutating func afterBody(_ finish: @escaping @Sendable (_ bytes: Int) -> Void) {
        if let length = self.body.contentLength { return finish(length) }
        let completion = Completion(finish)
        let body = self.body
        self.body = ResponseBody { writer in
            // The completion is told by its end of life too: a body that is dropped unwritten is a finished one.
            try await body.write(CountingWriter(inner: writer, completion: completion))
            completion.finish()
        }
    }
}

private final class Completion: Sendable {
    private struct State {
        var bytes = 0
        var finish: (@Sendable (Int) -> Void)?
    }

    private let state: Mutex<State>

    init(_ finish: @escaping @Sendable (Int) -> Void) {
        self.state = Mutex(State(finish: finish))
    }

    deinit { self.finish() }

    func add(_ bytes: Int) { self.state.withLock { $0.bytes += bytes } }

    func finish() {
        let (finish, bytes) = self.state.withLock { state in
            defer { state.finish = nil }
            return (state.finish, state.bytes)
        }
        finish?(bytes)
    }
}

private struct CountingWriter: ResponseBodyWriter {
    var inner: any ResponseBodyWriter
    let completion: Completion

    mutating func write(_ buffer: ByteBuffer) async throws {
        try await self.inner.write(buffer)
        self.completion.add(buffer.readableBytes)
    }

    consuming func finish(_ trailingHeaders: HTTPFields?) async throws {
        try await self.inner.finish(trailingHeaders)
    }
}
