@testable import LanternKafka
import Synchronization
import TestSupport
import Testing

@Suite("librdkafka's statistics", .timeLimit(.minutes(1)))
struct StatisticsTests {
    private static func read(_ text: [UInt8]) -> KafkaStatistics {
        text.withUnsafeBufferPointer { KafkaStatistics($0) }
    }

    private static func read(_ text: String) -> KafkaStatistics { self.read(Array(text.utf8)) }

    /// As librdkafka 2.0.2 writes it, with fewer numbers.
    private static let consumer = #"""
        { "name": "rdkafka#consumer-3", "client_id": "activity", "type": "consumer", "ts":38287977712, \#
        "time":1795296936, "age":9503168, "replyq":0, "msg_cnt":0, "msg_size":0, "msg_max":0, "msg_size_max":0, \#
        "simple_cnt":0, \#
        "brokers":{ "127.0.0.1:45767/1": { "name":"127.0.0.1:45767/1", "nodeid":1, "state":"UP", "outbuf_cnt":0, \#
        "msg_cnt":999, "msg_size":999, "int_latency": { "min":0, "max":0, "avg":0, "hdrsize":11376, "cnt":0 } , \#
        "req": { "Fetch": 12, "Metadata": 2 }, "toppars":{ "t-0": { "topic":"order.events.v1", "partition":0} } } }, \#
        "topics":{ "order.events.v1": { "topic":"order.events.v1", "age":6499, "metadata_age":6499, \#
        "batchsize": { "min":0, "max":0, "p99_99":0, "cnt":0 } , "partitions":{ \#
        "0": { "partition":0, "broker":1, "desired":true, "fetch_state":"active", "query_offset":-2, \#
        "next_offset":30, "app_offset":30, "stored_offset":-1001, "lo_offset":0, "hi_offset":55, "ls_offset":50, \#
        "consumer_lag":20, "consumer_lag_stored":-1, "rxmsgs":169} , \#
        "1": { "partition":1, "app_offset":-1001, "hi_offset":50, "ls_offset":50, "consumer_lag":-1} , \#
        "12": { "partition":12, "app_offset":60, "ls_offset":50, "consumer_lag":0} , \#
        "-1": { "partition":-1, "app_offset":3, "ls_offset":9, "consumer_lag":-1} } } , \#
        "auth.events.v1": { "topic":"auth.events.v1", "partitions":{ "0": { "ls_offset":7, "app_offset":7} } } } , \#
        "cgrp": { "state": "up", "join_state": "steady", "rebalance_reason": "Metadata for \"topics\" has changed", \#
        "assignment_size": 1 }, "tx":15, "rxmsg_bytes":169}
        """#

    private static let lag = [
        KafkaPartition(topic: "order.events.v1", partition: 0): Int64(20),
        KafkaPartition(topic: "order.events.v1", partition: 12): 0,
        KafkaPartition(topic: "auth.events.v1", partition: 0): 0,
    ]

    @Test("the lag of each partition that is read is told, up to the last stable offset")
    func consumerLag() {
        let statistics = Self.read(Self.consumer)
        #expect(statistics.lag == Self.lag)
        #expect(statistics.queuedMessages == 0)
        #expect(statistics.queuedBytes == 0)
    }

    @Test("what a producer has queued is told, and not what its brokers have")
    func producerQueue() {
        let statistics = Self.read(
            #"{"name":"p","msg_cnt":17,"brokers":{"b":{"msg_cnt":5,"msg_size":6}},"topics":{},"#
                + #""msg_size":2048,"x":[1,{}]}"#)
        #expect(statistics.queuedMessages == 17)
        #expect(statistics.queuedBytes == 2_048)
        #expect(statistics.lag == [:])
    }

    @Test("spaces and lines between its parts mean nothing")
    func spaces() {
        #expect(Self.read(Self.consumer.filter { $0 != " " }).lag == Self.lag)
        // The names and numbers that count have none of these in them.
        var spaced = Self.consumer
        for part in [",", "{", "}", "\":"] {
            spaced = spaced.replacing(part, with: "\(part.dropLast()) \n\t\(part.suffix(1))\r\n  ")
        }
        #expect(Self.read(spaced).lag == Self.lag)
    }

    @Test("as a C string it is the same")
    func cString() {
        let statistics = Self.consumer.withCString { KafkaStatistics($0) }
        #expect(statistics == Self.read(Self.consumer))
    }

    @Test(
        "texts with marks of their own, and objects within objects, are passed over",
        arguments: [
            #""a \"quote\" and \"msg_cnt\":1""#, #""a backslash \\""#, #""braces {[ ]} , :""#, #""\u0022\u007b""#,
            #""""#, #"{"a":{"b":[{"msg_cnt":1},[[]],"\"}"]},"topics":{"t":{}}}"#, "[[[[{}]]]]", "true", "null",
            "-1.5e+10", "{}",
        ])
    func nested(value: String) {
        let statistics = Self.read(
            #"{"first":\#(value),"msg_cnt":3,"second":\#(value),"topics":{"t":{"third":\#(value),"#
                + #""partitions":{"4":{"fourth":\#(value),"ls_offset":9,"fifth":\#(value),"app_offset":2}}}},"#
                + #""msg_size":4,"last":\#(value)}"#)
        #expect(statistics.queuedMessages == 3)
        #expect(statistics.queuedBytes == 4)
        #expect(statistics.lag == [KafkaPartition(topic: "t", partition: 4): 7])
    }

    @Test("numbers that are none, or too large, count as nothing")
    func numbers() {
        for value in ["\"7\"", "7.5", "1e3", "null", "[7]", "{}", "99999999999999999999", "-", "", "7x"] {
            let statistics = Self.read(#"{"msg_cnt":\#(value),"msg_size":5}"#)
            #expect(statistics.queuedMessages == 0, "\(value)")
        }
        #expect(Self.read(#"{"msg_cnt":\#(Int64.max)}"#).queuedMessages == Int.max)
    }

    @Test("a partition whose number is none is left out")
    func partitionNumbers() {
        let statistics = Self.read(
            #"{"topics":{"t":{"partitions":{"x":{"ls_offset":9,"app_offset":2},"#
                + #""99999999999":{"ls_offset":9,"app_offset":2},"2":{"ls_offset":9,"app_offset":2}}}}}"#)
        #expect(statistics.lag == [KafkaPartition(topic: "t", partition: 2): 7])
    }

    // MARK: - What is no JSON

    @Test("wherever it is cut off, reading ends, and tells of no partition that is not there")
    func cutOff() async throws {
        let whole = Array(Self.consumer.utf8)
        let cuts = (0...whole.count).map { Array(whole[..<$0]) }
        let read = try await Self.readAll(cuts)
        for statistics in read { #expect(Set(statistics.lag.keys).isSubset(of: Self.lag.keys)) }
        #expect(read.last?.lag == Self.lag)
    }

    @Test(
        "reading ends, whatever stands there",
        arguments: [
            "", " ", "{", "}", "[", "]", "\"", "\\", ":", ",", "{,}", "{:}", "{\"a\"}", "{\"a\":}", "{\"a\":1,}",
            "{\"a\" 1}", "[[[[", "{{{{", "{\"topics\":[}", "{\"topics\":{\"t\":1}}", "{\"a\":\"\\", "{\"a\":\"\\\"",
            "{\"a\":[\u{1}]}", "{\"\u{0}\":{\u{1F}}}", "{\"msg_cnt\":\u{1}}", "{\"a\":{\"b\":\u{7F}}}", "\u{FEFF}{}",
            "{\"a\":[1 2 3]}", "{\"a\":]}", "{\"a\":{\"b\":[\u{1B}\"",
        ])
    func malformed(text: String) async throws {
        #expect(try await Self.readAll([Array(text.utf8)]).allSatisfy { $0.lag.isEmpty })
    }

    @Test("reading ends, whatever is deeply nested")
    func deep() async throws {
        for mark in ["[", "{", "{\"a\":", "{\"topics\":"] {
            let text = String(repeating: mark, count: 100_000)
            #expect(try await Self.readAll([Array(text.utf8)]).allSatisfy { $0.lag.isEmpty })
        }
    }

    @Test("reading ends, whatever bytes there are", arguments: UInt64(1)...20)
    func chance(seed: UInt64) async throws {
        var generator = SeededGenerator(seed: seed)
        let whole = Array(Self.consumer.utf8)
        let texts = (0..<200).map { number -> [UInt8] in
            guard number % 2 == 0 else {
                return (0..<100).map { _ in UInt8.random(in: 0...255, using: &generator) }
            }
            // The real text with some other bytes.
            var text = whole
            for _ in 0..<Int.random(in: 1...8, using: &generator) {
                text[Int.random(in: text.indices, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
            }
            return text
        }
        let read = try await Self.readAll(texts)
        #expect(read.allSatisfy { $0.lag.values.allSatisfy { $0 >= 0 } })
    }

    /// Reads elsewhere: a reading that does not end must not hang the tests.
    private static func readAll(_ texts: [[UInt8]]) async throws -> [KafkaStatistics] {
        let read = Mutex<[KafkaStatistics]>([])
        let task = Task.detached {
            for text in texts {
                let statistics = Self.read(text)
                read.withLock { $0.append(statistics) }
            }
        }
        let all: [KafkaStatistics]? = try await eventually(within: .seconds(20)) {
            let now = read.withLock { $0 }
            return now.count == texts.count ? now : nil
        }
        guard let all else {
            let text = texts[read.withLock { $0.count }]
            throw Endless(text: String(decoding: text, as: UTF8.self))
        }
        await task.value
        return all
    }

    private struct Endless: Error { var text: String }
}
