import Foundation
import Glibc
import Synchronization

/// A TCP proxy on loopback in front of a server, which does to connections what networks do.
///
/// Each connection has a thread of its own, which alone touches its sockets. What it is to do is decided for each piece of
/// data, under one lock: what is behind ``behave(_:)`` and ``cut(then:)`` happens to all that passes after they return.
final class FaultyProxy: Sendable {
    enum Direction { case requests, answers }

    struct Behaviour: Sendable {
        /// What goes this way is thrown away.
        var swallows: Direction?
        /// What goes this way waits until it behaves otherwise.
        var holds: Direction?
        /// Each connection ends after so many bytes, both ways together, drawn when it begins.
        var cutsWithin: ClosedRange<Int>?
        /// Each piece comes later by up to as much.
        var longestDelay: Duration = .zero

        static let pass = Behaviour()
        static func swallows(_ direction: Direction) -> Behaviour { Behaviour(swallows: direction) }
        static func holds(_ direction: Direction) -> Behaviour { Behaviour(holds: direction) }
    }

    /// What happened so far.
    struct Counts: Sendable {
        var connections = 0
        var cuts = 0
        /// Bytes that came on.
        var requests = 0
        var answers = 0
        /// Bytes that were thrown away.
        var swallowed = 0
    }

    private struct Link {
        /// Wakes its thread.
        var wake: Int32
        /// Bytes until it is cut.
        var budget: Int?
        var isCut = false
    }

    private struct State {
        var behaviour = Behaviour.pass
        var counts = Counts()
        var links: [Int: Link] = [:]
        var dice: SeededGenerator
        var isClosed = false
    }

    let port: Int
    private let target: Int
    private let listener: Int32
    private let state: Mutex<State>

    /// - Parameters:
    ///   - target: Port of the server on loopback.
    ///   - seed: Of all that is left to chance.
    init(to target: Int, seed: UInt64 = 1) throws {
        self.target = target
        self.state = Mutex(State(dice: SeededGenerator(seed: seed)))
        (self.listener, self.port) = try Sockets.listen()
        Thread.detachNewThread { self.accept() }
    }

    /// Ends all connections, and takes no more.
    func close() {
        self.state.withLock { state in
            guard !state.isClosed else { return }
            state.isClosed = true
            Self.cutAll(&state)
            // Its thread closes it.
            shutdown(self.listener, Int32(SHUT_RDWR))
        }
    }

    // MARK: - What it does

    var counts: Counts { self.state.withLock { $0.counts } }

    func behave(_ behaviour: Behaviour) {
        self.state.withLock { state in
            state.behaviour = behaviour
            for number in state.links.keys { state.links[number]?.budget = nil }
            Self.wakeAll(state)
        }
    }

    /// Ends all connections at once; nothing that is under way arrives. Those that come later meet `behaviour`.
    func cut(then behaviour: Behaviour = .pass) {
        self.state.withLock { state in
            state.behaviour = behaviour
            Self.cutAll(&state)
        }
    }

    private static func cutAll(_ state: inout State) {
        state.counts.cuts += state.links.values.count { !$0.isCut }
        for number in state.links.keys { state.links[number]?.isCut = true }
        self.wakeAll(state)
    }

    private static func wakeAll(_ state: State) {
        var byte: UInt8 = 0
        // A pipe that is full wakes its reader as well.
        for link in state.links.values { _ = Glibc.write(link.wake, &byte, 1) }
    }

    // MARK: - Connections

    private func accept() {
        while true {
            let client = Glibc.accept(self.listener, nil, nil)
            let isClosed = self.state.withLock { $0.isClosed }
            guard client >= 0, !isClosed else {
                if client >= 0 { Glibc.close(client) }
                if isClosed { break }
                continue
            }
            Thread.detachNewThread { self.carry(client) }
        }
        Glibc.close(self.listener)
    }

    private func carry(_ client: Int32) {
        defer { Glibc.close(client) }
        guard let server = Sockets.connect(to: self.target) else { return }
        defer { Glibc.close(server) }
        guard let (reader, writer) = Sockets.pipe() else { return }
        let number = self.state.withLock { state -> Int? in
            guard !state.isClosed else { return nil }
            state.counts.connections += 1
            let budget = state.behaviour.cutsWithin.map { Int.random(in: $0, using: &state.dice) }
            state.links[state.counts.connections] = Link(wake: writer, budget: budget)
            return state.counts.connections
        }
        defer {
            self.state.withLock { state in
                // Nobody wakes it from here on.
                if let number { state.links[number] = nil }
            }
            Glibc.close(reader)
            Glibc.close(writer)
        }
        guard let number else { return }
        Sockets.prepare(client)
        Sockets.prepare(server)
        var ways = [
            Way(direction: .requests, from: client, to: server), Way(direction: .answers, from: server, to: client),
        ]
        while true {
            guard let orders = self.orders(for: number) else {
                if self.state.withLock({ Bool.random(using: &$0.dice) }) {
                    // As a peer that crashed, not one that hung up.
                    Sockets.reset(client)
                    Sockets.reset(server)
                }
                return
            }
            guard self.turn(&ways, number, orders, reader) else { return }
        }
    }

    /// One direction of a connection.
    private struct Way {
        let direction: Direction
        let from: Int32
        let to: Int32
        /// Read and not yet written.
        var bytes: [UInt8] = []
        var due = ContinuousClock.now

        func reads(_ orders: Behaviour) -> Bool { self.bytes.isEmpty && orders.holds != self.direction }

        func writes(_ orders: Behaviour, _ now: ContinuousClock.Instant) -> Bool {
            !self.bytes.isEmpty && self.due <= now && orders.holds != self.direction
        }
    }

    /// What is done with a connection; `nil` where it is cut.
    private func orders(for number: Int) -> Behaviour? {
        self.state.withLock { state in
            guard let link = state.links[number], !link.isCut else { return nil }
            return state.behaviour
        }
    }

    /// Waits for something to do, and does it; answers whether the connection goes on.
    private func turn(_ ways: inout [Way], _ number: Int, _ orders: Behaviour, _ wake: Int32) -> Bool {
        let now = ContinuousClock.now
        var descriptors = [pollfd(fd: wake, events: Int16(POLLIN), revents: 0)]
        for index in ways.indices {
            // The other way writes to the socket that this one reads from.
            let events =
                (ways[index].reads(orders) ? POLLIN : 0) | (ways[1 - index].writes(orders, now) ? POLLOUT : 0)
            descriptors.append(pollfd(fd: ways[index].from, events: Int16(events), revents: 0))
        }
        let waits = ways.filter { !$0.bytes.isEmpty && $0.due > now }.map { now.duration(to: $0.due) }
        let timeout = waits.min().map { Int32($0 / .milliseconds(1)) + 1 } ?? -1
        guard poll(&descriptors, nfds_t(descriptors.count), timeout) >= 0 else { return errno == EINTR }
        if descriptors[0].revents != 0 { Sockets.drain(wake) }
        for index in ways.indices {
            let events = descriptors[index + 1].revents
            if events & Int16(POLLIN) != 0 {
                guard self.read(&ways[index]) else { return false }
            } else if events & Int16(POLLERR | POLLHUP) != 0 {
                return false
            }
            if events & Int16(POLLOUT) != 0 {
                guard self.write(&ways[1 - index], number) else { return false }
            }
        }
        return true
    }

    private func read(_ way: inout Way) -> Bool {
        var bytes = [UInt8](repeating: 0, count: 1 << 14)
        let count = recv(way.from, &bytes, bytes.count, 0)
        guard count > 0 else { return count < 0 && [EAGAIN, EINTR].contains(errno) }
        way.bytes = Array(bytes.prefix(count))
        way.due = self.state.withLock { state in
            let longest = state.behaviour.longestDelay
            return .now + (longest == .zero ? .zero : longest * Double.random(in: 0...1, using: &state.dice))
        }
        return true
    }

    private func write(_ way: inout Way, _ number: Int) -> Bool {
        self.state.withLock { state in
            // What was cut or is held meanwhile does not arrive: the next turn sees it.
            guard let link = state.links[number], !link.isCut, state.behaviour.holds != way.direction else {
                return true
            }
            if state.behaviour.swallows == way.direction {
                state.counts.swallowed += way.bytes.count
                way.bytes = []
                return true
            }
            let length = min(way.bytes.count, link.budget ?? .max)
            let count = send(way.to, way.bytes, length, Int32(MSG_NOSIGNAL))
            guard count >= 0 else { return [EAGAIN, EINTR].contains(errno) }
            way.bytes.removeFirst(count)
            switch way.direction {
            case .requests: state.counts.requests += count
            case .answers: state.counts.answers += count
            }
            if let budget = link.budget {
                state.links[number]?.budget = budget - count
                if budget == count {
                    state.counts.cuts += 1
                    state.links[number]?.isCut = true
                }
            }
            return true
        }
    }
}

/// The calls of the sockets' interface that a proxy needs, on loopback.
private enum Sockets {
    struct Failure: Error {
        var errno: Int32
    }

    static func listen() throws -> (descriptor: Int32, port: Int) {
        let descriptor = self.make()
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let (isListening, address) = self.withAddress(0) { address in
            Glibc.bind(descriptor, address, length) == 0 && Glibc.listen(descriptor, 128) == 0
                && getsockname(descriptor, address, &length) == 0
        }
        guard isListening else {
            defer { Glibc.close(descriptor) }
            throw Failure(errno: errno)
        }
        return (descriptor, Int(UInt16(bigEndian: address.sin_port)))
    }

    static func connect(to port: Int) -> Int32? {
        let descriptor = self.make()
        let (isConnected, _) = self.withAddress(port) { address in
            Glibc.connect(descriptor, address, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
        }
        if isConnected { return descriptor }
        Glibc.close(descriptor)
        return nil
    }

    static func pipe() -> (reader: Int32, writer: Int32)? {
        var ends: [Int32] = [-1, -1]
        guard Glibc.pipe(&ends) == 0 else { return nil }
        for end in ends { self.unblock(end) }
        return (ends[0], ends[1])
    }

    private static func unblock(_ descriptor: Int32) {
        _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK)
    }

    /// Makes it non-blocking, and small pieces leave at once.
    static func prepare(_ descriptor: Int32) {
        self.unblock(descriptor)
        var isOn: Int32 = 1
        setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &isOn, socklen_t(MemoryLayout<Int32>.size))
    }

    /// Closing it tells the peer of an error.
    static func reset(_ descriptor: Int32) {
        var option = linger(l_onoff: 1, l_linger: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout<linger>.size))
    }

    static func drain(_ descriptor: Int32) {
        var bytes = [UInt8](repeating: 0, count: 64)
        while read(descriptor, &bytes, bytes.count) > 0 {}
    }

    private static func make() -> Int32 { socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0) }

    private static func withAddress<Value>(
        _ port: Int, _ body: (UnsafeMutablePointer<sockaddr>) -> Value
    ) -> (Value, sockaddr_in) {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(port).bigEndian
        address.sin_addr = in_addr(s_addr: UInt32(0x7F00_0001).bigEndian)
        let value = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0) }
        }
        return (value, address)
    }
}
