import Glibc

/// A counting semaphore for a thread that has nothing to do.
///
/// `@unchecked Sendable` is right because POSIX semaphores are made to be used from any thread, and this one is destroyed
/// when the last reference goes.
final class KafkaSemaphore: @unchecked Sendable {
    private let raw: UnsafeMutablePointer<sem_t>

    init() {
        self.raw = .allocate(capacity: 1)
        sem_init(self.raw, 0, 0)
    }

    deinit {
        sem_destroy(self.raw)
        self.raw.deallocate()
    }

    func signal() { sem_post(self.raw) }

    func wait() {
        while sem_wait(self.raw) != 0, errno == EINTR {}
    }
}
