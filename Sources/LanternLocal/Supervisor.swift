import Foundation
import Glibc
import Synchronization

/// Keeps processes running: one that dies is started again, with backoff. Stops them in the reverse order.
public final class Supervisor: Sendable {
    /// A process to keep.
    public struct Part: Sendable {
        public var name: String
        public var url: String
        public var command: ChildProcess.Command
        /// Returns once it serves; throws when that is hopeless.
        public var awaitReady: @Sendable (ChildProcess) async throws -> Void

        public init(
            name: String, url: String, command: ChildProcess.Command,
            awaitReady: @escaping @Sendable (ChildProcess) async throws -> Void
        ) {
            self.name = name
            self.url = url
            self.command = command
            self.awaitReady = awaitReady
        }
    }

    private struct State {
        var order: [String] = []
        var statuses: [String: ProcessStatus] = [:]
        var children: [String: ChildProcess] = [:]
        var watchers: [String: Task<Void, Never>] = [:]
        var stopping = false
    }

    private let state = Mutex(State())
    private let changed: @Sendable ([ProcessStatus]) -> Void

    /// - Parameter changed: Called whenever the state of a process changes.
    public init(changed: @escaping @Sendable ([ProcessStatus]) -> Void) {
        self.changed = changed
    }

    /// All processes, in the order they were started.
    public var statuses: [ProcessStatus] {
        self.state.withLock { state in state.order.compactMap { state.statuses[$0] } }
    }

    /// Starts a process, waits until it serves, and keeps it running from then on.
    public func start(_ part: Part) async throws {
        self.state.withLock { state in
            state.order.append(part.name)
            state.statuses[part.name] = ProcessStatus(
                name: part.name, url: part.url, pid: nil, state: "starting", restarts: 0
            )
        }
        let child: ChildProcess
        do {
            child = try await self.launch(part)
            try await part.awaitReady(child)
        } catch {
            // It was never part of the platform; it may be tried again.
            await self.state.withLock { $0.children.removeValue(forKey: part.name) }?.stop()
            self.state.withLock { state in
                state.order.removeAll { $0 == part.name }
                state.statuses[part.name] = nil
            }
            throw error
        }
        self.update(part.name) { $0.state = "running" }
        let watcher = Task { await self.watch(part, child) }
        self.state.withLock { $0.watchers[part.name] = watcher }
    }

    /// Stops everything, last started first.
    public func stop() async {
        let (order, watchers) = self.state.withLock { state in
            state.stopping = true
            return (state.order, state.watchers)
        }
        for watcher in watchers.values { watcher.cancel() }
        for name in order.reversed() {
            if let child = self.state.withLock({ $0.children[name] }) { await child.stop() }
            self.update(name) {
                $0.state = "stopped"
                $0.pid = nil
            }
        }
    }

    private func launch(_ part: Part) async throws -> ChildProcess {
        let child = try await ChildProcess.start(part.command)
        let stopping = self.state.withLock { state in
            state.children[part.name] = child
            return state.stopping
        }
        if stopping { await child.stop() }
        self.update(part.name) { $0.pid = child.pid }
        return child
    }

    private func watch(_ part: Part, _ first: ChildProcess) async {
        var child = first
        var backoff: Duration = .milliseconds(200)
        var startedAt = ContinuousClock.now
        while !Task.isCancelled {
            _ = await child.wait()
            if self.state.withLock({ $0.stopping }) { return }
            // Whoever ran for a while did not fail at its start: begin the backoff anew.
            if ContinuousClock.now - startedAt > .seconds(30) { backoff = .milliseconds(200) }
            self.update(part.name) {
                $0.state = "restarting"
                $0.pid = nil
                $0.restarts += 1
            }
            try? await Task.sleep(for: backoff)
            backoff = min(backoff * 2, .seconds(10))
            if self.state.withLock({ $0.stopping }) { return }
            do {
                startedAt = .now
                child = try await self.launch(part)
                try await part.awaitReady(child)
                self.update(part.name) { $0.state = "running" }
            } catch {
                // Not ready in time, or ended again: if it still runs it may yet become ready; if not, the loop goes on.
                continue
            }
        }
    }

    private func update(_ name: String, _ change: (inout ProcessStatus) -> Void) {
        let before = self.statuses
        let updated = self.state.withLock { state in state.statuses[name] }
        guard var status = updated else { return }
        change(&status)
        let new = status
        self.state.withLock { $0.statuses[name] = new }
        let after = self.statuses
        if before != after { self.changed(after) }
    }
}
