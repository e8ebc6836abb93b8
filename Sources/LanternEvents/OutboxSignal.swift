/// Tells relays that something was appended: that of this process at once, those of other replicas by way of PostgreSQL.
public final class OutboxSignal: Sendable {
    /// Wakes the relay of this process.
    let here = WakeSignal()
    /// Wakes whoever tells the other replicas.
    let elsewhere = WakeSignal()

    public init() {}

    /// To be called after a commit.
    public func appended() {
        self.here.signal()
        self.elsewhere.signal()
    }
}
