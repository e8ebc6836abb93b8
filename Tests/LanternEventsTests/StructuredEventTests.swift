import Foundation
import LanternKafka
import Testing

@testable import LanternEvents

@Suite("CloudEvents in structured mode")
struct StructuredEventTests {
    private static let required = #""specversion":"1.0","id":"1","source":"urn:example:till","type":"sale""#

    private func record(
        _ value: String, contentType: String = "application/cloudevents+json", named name: String = "content-type"
    ) -> KafkaRecord {
        KafkaRecord(
            topic: "till.events.v1", value: Array(value.utf8), headers: [KafkaHeader(name, contentType)])
    }

    /// An event with some members beside those that every event has.
    private func event(_ members: String = "") throws(EventError) -> EventEnvelope {
        try CloudEvents.event(self.record("{\(Self.required)\(members.isEmpty ? "" : ",")\(members)}"))
    }

    private func data(_ members: String) throws -> String {
        String(decoding: try self.event(members).data, as: UTF8.self)
    }

    private func code(_ value: String, contentType: String = "application/cloudevents+json") throws -> EventError.Code {
        let error = try #require(throws: EventError.self) {
            try CloudEvents.event(self.record(value, contentType: contentType))
        }
        return error.code
    }

    // MARK: - Data

    @Test(
        "JSON data comes byte for byte as it was sent",
        arguments: [
            #"{ "b" : 1 ,"a":[ 1,  2 ] }"#, "{\n\t\"b\" : 1\r\n}", #"{"z":1,"a":2,"m":3}"#,
            #"{"n":12345678901234567890123,"m":-0,"e":1.50e+3}"#, "9007199254740993", "-0.0", "1E2",
            #"{"s":"\u00e9\ud83c\udfee\/\"\\ }],:{["}"#, #"{"s":"é🏮"}"#, #"{"a":1,"a":2,"a":1}"#,
            #"{"data":{"data":[{"data":1}]}}"#, "[]", "{}", "[[[]],{}]", "true", "false", #""text""#, #""""#,
        ])
    func jsonData(data: String) throws {
        #expect(try self.data(#""data":\#(data)"#) == data)
        #expect(try self.data(#" "data" :  \#(data)  , "subject":"s" "#) == data, "with space around it")
        #expect(try self.data("\"subject\":\"s\",\n\"data\"\n:\n\(data)\n") == data, "as the last member")
        #expect(
            try self.data(#""datacontenttype":"application/json; charset=utf-8","data":\#(data)"#) == data,
            "with its type")
    }

    @Test("members of the name data at other depths are not the data")
    func otherDepths() throws {
        #expect(try self.data(#""data":1,"x":"data","datax":"2""#) == "1")
        #expect(try self.data(#""data":{"data":2,"x":[{"data":3}]}"#) == #"{"data":2,"x":[{"data":3}]}"#)
        #expect(try self.data(#""subject":"\"data\":2","data":1"#) == "1")
        #expect(try self.data(#""subject":"},{\"data\":2","data":1"#) == "1")
    }

    @Test("of two members of one name the last counts, as the parser has it")
    func duplicateNames() throws {
        #expect(try self.data(#""data":1,"data":{"b":2}"#) == #"{"b":2}"#)
        #expect(try self.event(#""subject":"one","subject":"two""#).subject == "two")
    }

    @Test("a name that is written with escapes is the same name")
    func escapedName() throws {
        #expect(try self.data(##""d\u0061ta":[1, 2]"##) == "[1, 2]")
    }

    @Test("a number that no type of ours can hold is data as any other", arguments: ["1e400", "-1e400", "[1e99999]"])
    func largestNumbers(data: String) throws {
        #expect(try self.data(#""data":\#(data)"#) == data)
    }

    @Test(
        "text is the text, where the type says that it is no JSON",
        arguments: [
            ("text/plain", #""a \"b\" é\n""#, "a \"b\" é\n"), ("text/plain; charset=utf-8", #""x""#, "x"),
            ("application/xml", #""<a/>""#, "<a/>"), ("text/plain", #""""#, ""),
            ("application/json", #""x""#, #""x""#), ("application/vnd.acme+json", #""x""#, #""x""#),
            ("text/json;charset=utf-8", #""x""#, #""x""#), ("APPLICATION/JSON", #""x""#, #""x""#),
        ])
    func textData(type: String, json: String, data: String) throws {
        #expect(try self.data(#""datacontenttype":"\#(type)","data":\#(json)"#) == data)
    }

    @Test("bytes come as base64", arguments: [[], [0], [0xFF, 0xFE, 0x00, 0x7B], Array(0...255)] as [[UInt8]])
    func base64(data: [UInt8]) throws {
        let text = Data(data).base64EncodedString()
        #expect(try self.event(#""data_base64":"\#(text)""#).data == data)
        #expect(try self.event(#""data":null,"data_base64":"\#(text)""#).data == data)
        #expect(
            try self.event(#""datacontenttype":"application/json","data_base64":"\#(text)""#).data == data)
    }

    @Test(
        "what is no base64, or stands beside data, is refused",
        arguments: [
            #""data_base64":"a b""#, #""data_base64":"=""#, #""data_base64":7"#, #""data_base64":{}"#,
            #""data_base64":"AA==","data":1"#, #""data":"x","data_base64":"AA==""#,
        ])
    func badBase64(members: String) throws {
        #expect(try self.code("{\(Self.required),\(members)}") == .invalidAttribute)
    }

    @Test("an event without data has none")
    func noData() throws {
        #expect(try self.event().data == [])
        #expect(try self.event(#""data_base64":null"#).data == [])
        #expect(try self.event(#""data":1,"data_base64":null"#).data == Array("1".utf8))
    }

    // MARK: - Attributes

    @Test("a null attribute is as good as none")
    func nullAttributes() throws {
        let event = try self.event(
            #""subject":null,"time":null,"dataschema":null,"datacontenttype":null,"tenant":null,"sequence":null"#)
        #expect(event == EventEnvelope(id: "1", source: "urn:example:till", type: "sale"))
        #expect(try self.code(#"{"specversion":"1.0","id":null,"source":"s","type":"t"}"#) == .invalidAttribute)
    }

    @Test("numbers are numbers, whether they come as such or as text", arguments: ["42", #""42""#, #""00042""#])
    func numbers(json: String) throws {
        let event = try self.event(#""sequence":\#(json),"sourceepoch":\#(json),"subjectversion":\#(json)"#)
        #expect(event.sequence == 42 && event.epoch == 42 && event.subjectVersion == 42)
    }

    @Test(
        "numbers that are none of ours are refused",
        arguments: ["-1", "1.5", "1e30", "9223372036854775808", "true", #""one""#])
    func badNumbers(json: String) throws {
        #expect(try self.code(#"{\#(Self.required),"sequence":\#(json)}"#) == .invalidAttribute)
    }

    @Test("the largest number is not rounded")
    func exactNumbers() throws {
        #expect(try self.event(#""sequence":9223372036854775807"#).sequence == .max)
        #expect(try self.event(#""sequence":9007199254740993"#).sequence == 9_007_199_254_740_993)
    }

    @Test("extensions of every type are taken, with the text that the type system gives them")
    func extensions() throws {
        let event = try StructuredEvent(
            KafkaRecord(
                topic: "t",
                value: Array(#"{\#(Self.required),"text":"x","yes":true,"no":false,"number":-7,"none":null}"#.utf8)))
        #expect(event.text("text") == "x")
        #expect(event.text("number") == "-7")
        // CloudEvents 1.0.2, section "Type System": `true` and `false`.
        #expect(event.text("yes") == "true")
        #expect(event.text("no") == "false")
        #expect(event.text("none") == nil && !event.isPresent("none"))
    }

    @Test("an attribute that is an object or a list is refused", arguments: ["{}", "[]", #"["x"]"#, #"{"a":1}"#])
    func compound(json: String) throws {
        #expect(try self.code(#"{\#(Self.required),"subject":\#(json)}"#) == .invalidAttribute)
        #expect(try self.code(#"{\#(Self.required),"myextension":\#(json)}"#) == .invalidAttribute)
    }

    @Test(
        "an event without a proper id, source or type is refused, naming what is wrong",
        arguments: ["id", "source", "type"])
    func missing(name: String) throws {
        for spoilt in [#""other""#, "null", #""""#, #""a\u0000b""#, #""\#(String(repeating: "x", count: 1_025))""#] {
            var members = ["specversion": #""1.0""#, "id": #""1""#, "source": #""s""#, "type": #""t""#]
            members[name] = spoilt == #""other""# ? nil : spoilt
            let value = "{" + members.map { #""\#($0.key)":\#($0.value)"# }.joined(separator: ",") + "}"
            let error = try #require(throws: EventError.self) { try CloudEvents.event(self.record(value)) }
            #expect(error.code == .invalidAttribute)
            #expect(error.message.contains(name))
        }
    }

    @Test("another version of CloudEvents is refused, and a JSON object without one is no CloudEvent")
    func version() throws {
        for version in [#""0.3""#, #""1""#, "1", #""2.0""#] {
            let value = #"{"specversion":\#(version),"id":"1","source":"s","type":"t"}"#
            #expect(try self.code(value) == .unsupportedVersion, "\(version)")
        }
        #expect(try self.code("{}") == .notACloudEvent)
        #expect(try self.code(#"{"specversion":null,"id":"1","source":"s","type":"t"}"#) == .notACloudEvent)
    }

    // MARK: - What is no event

    @Test(
        "a value that is no JSON object is no event",
        arguments: ["", " ", "[]", "1", "null", #""x""#, "{", "{}x", "{\"a\"}", "[{}]", "{'a':1}"])
    func notAnObject(value: String) throws {
        #expect(try self.code(value) == .notACloudEvent)
    }

    @Test("a value in another encoding than UTF-8 is refused whole: its data would be lost")
    func otherEncodings() throws {
        let text = #"{\#(Self.required),"data":{"n":1}}"#
        for encoding in [String.Encoding.utf16LittleEndian, .utf16BigEndian, .utf32LittleEndian] {
            var record = self.record("")
            record.value = Array(try #require(text.data(using: encoding)))
            let error = try #require(throws: EventError.self) { try CloudEvents.event(record) }
            #expect(error.code == .notACloudEvent, "\(encoding)")
        }
    }

    @Test("a tombstone that says it is an event is none")
    func tombstone() throws {
        var record = self.record("")
        record.value = nil
        let error = try #require(throws: EventError.self) { try CloudEvents.event(record) }
        #expect(error.code == .notACloudEvent)
    }

    @Test(
        "other formats, and batches, are refused, though they would make sense as JSON",
        arguments: [
            "application/cloudevents-batch+json", "application/cloudevents+avro", "application/cloudevents",
            "application/cloudevents+protobuf",
        ])
    func otherFormats(contentType: String) throws {
        #expect(try self.code("{\(Self.required)}", contentType: contentType) == .notACloudEvent)
        #expect(try self.code("[{\(Self.required)}]", contentType: contentType) == .notACloudEvent)
    }

    @Test(
        "the content type may have parameters and be in any case",
        arguments: [
            "application/cloudevents+json", "application/cloudevents+json; charset=UTF-8",
            "application/cloudevents+json;charset=utf-8", "Application/CloudEvents+JSON",
        ], ["content-type", "Content-Type", "CONTENT-TYPE"])
    func contentType(type: String, name: String) throws {
        let record = self.record(#"{\#(Self.required),"data":[1]}"#, contentType: type, named: name)
        #expect(try CloudEvents.event(record).data == Array("[1]".utf8))
    }

    @Test("errors tell what is wrong, never what was sent")
    func quietErrors() throws {
        for members in [
            #""time":"s3cret""#, #""sequence":"s3cret""#, #""subject":["s3cret"]"#, #""data_base64":"s3cret!""#,
        ] {
            let error = try #require(throws: EventError.self) { try self.event(members) }
            #expect(!error.description.contains("s3cret"), "\(members)")
        }
    }
}
