import CLanternSystem
import CLibPQ

/// A `PGcancel`.
///
/// `@unchecked Sendable` is right because libpq allows `PQcancel` on it from any thread, it never changes, and it is freed when
/// the last who could use it is gone.
final class CancelHandle: @unchecked Sendable {
    private let raw: OpaquePointer

    init?(_ connection: OpaquePointer) {
        guard let raw = PQgetCancel(connection) else { return nil }
        self.raw = raw
    }

    deinit { PQfreeCancel(self.raw) }

    private final class Call: Sendable {
        let handle: CancelHandle
        let returned: @Sendable () -> Void

        init(_ handle: CancelHandle, _ returned: @escaping @Sendable () -> Void) {
            self.handle = handle
            self.returned = returned
        }
    }

    /// Asks the server to stop what runs. `PQcancel` opens a connection and blocks, so it has a thread of its own; it returns
    /// when the server has sent the signal, or could not be reached.
    func cancel(_ returned: @escaping @Sendable () -> Void) {
        let context = Unmanaged.passRetained(Call(self, returned)).toOpaque()
        let status = lantern_thread_start(
            "lantern-cancel",
            { context in
                guard let context else { return }
                // The one reference that was retained above.
                let call = Unmanaged<Call>.fromOpaque(context).takeRetainedValue()
                var message = [CChar](repeating: 0, count: 256)
                _ = PQcancel(call.handle.raw, &message, Int32(message.count))
                call.returned()
            },
            context
        )
        if status != 0 {
            // Tried again when the next step is due.
            Unmanaged<Call>.fromOpaque(context).takeRetainedValue().returned()
        }
    }
}
