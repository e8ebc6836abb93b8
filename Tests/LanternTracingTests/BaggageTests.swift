import Testing
import Tracing

@testable import LanternTracing

/// `key=value` of each member, in order.
private func pairs(_ baggage: Baggage) -> [String] { baggage.members.map { "\($0.key)=\($0.value)" } }

@Suite("Baggage that is read (W3C Baggage, section 3.3)")
struct BaggageReadingTests {
    private static let tokens = "!#$%&'*+-.^_`|~09AZaz"
    /// Every baggage-octet but `%`.
    private static let octets = String(
        decoding: [0x21, 0x23, 0x24] + Array(0x26...0x2B) + Array(0x2D...0x3A) + Array(0x3C...0x5B)
            + Array(0x5D...0x7E),
        as: UTF8.self
    )

    static let validTable: [(header: String, expected: [String])] = [
        ("user=ada", ["user=ada"]),
        // The examples of the specification.
        (
            "userId=alice,serverNode=DF%2028,isProduction=false",
            ["userId=alice", "serverNode=DF 28", "isProduction=false"]
        ),
        ("userId=Am%C3%A9lie", ["userId=Amélie"]),
        ("SomeKey=SomeValue;SomeProp=propVal", ["SomeKey=SomeValue"]),
        ("SomeKey \t = \t SomeValue \t ; \t SomeProp \t , \t other = 2", ["SomeKey=SomeValue", "other=2"]),
        // White space around all signs is optional.
        (" \tuser=ada\t ", ["user=ada"]),
        ("a=1 ,\tb=2", ["a=1", "b=2"]),
        // Empty values.
        ("user=", ["user="]),
        ("user= ,b=", ["user=", "b="]),
        ("user=;p", ["user="]),
        // Equals signs after the first belong to the value.
        ("user==", ["user=="]),
        ("query=a=b&c=d", ["query=a=b&c=d"]),
        // Keys are tokens and keep their case; a percent sign in them is only a sign.
        ("\(tokens)=1", ["\(tokens)=1"]),
        ("User=1,user=2", ["User=1", "user=2"]),
        ("a%20b=1", ["a%20b=1"]),
        ("value=\(octets)", ["value=\(octets)"]),
        // Of two with one key, both are kept.
        ("user=ada,b=1,user=grace", ["user=ada", "b=1", "user=grace"]),
        // Percent-encoded UTF-8, in both cases of digits, also where it was not needed.
        ("price=%e2%82%AC", ["price=€"]),
        ("lantern=%F0%9F%8F%AE", ["lantern=🏮"]),
        ("text=%22%2C%3B%5C%0D%0A%00", ["text=\",;\\\r\n\0"]),
        ("plain=%41%42", ["plain=AB"]),
        // Percent signs that begin nothing stay.
        ("rate=100%", ["rate=100%"]),
        ("rate=%4", ["rate=%4"]),
        ("rate=%zz%4g", ["rate=%zz%4g"]),
        ("rate=%%41", ["rate=%A"]),
        ("rate=%2541", ["rate=%41"]),
        // Bytes that are no UTF-8.
        ("text=%FF", ["text=\u{FFFD}"]),
        ("text=a%C3", ["text=a\u{FFFD}"]),
        ("text=%C3%28", ["text=\u{FFFD}("]),
        ("text=%F0%9F%8Fz", ["text=\u{FFFD}z"]),
    ]

    @Test("a valid header gives its members in order", arguments: BaggageReadingTests.validTable)
    func valid(header: String, expected: [String]) {
        // By bytes: to a String, texts of different bytes may be equal.
        #expect(pairs(Baggage(header: header)).map { Array($0.utf8) } == expected.map { Array($0.utf8) })
    }

    static let malformedTable: [String] = [
        "", " ", "\t", "user", "=ada", " =ada", "=", ";p", ";p=1", "user;p=1", "user ada",
        // Keys that are no token.
        "us er=1", "(user)=1", "user@shop=1", "user:1=1", "{user}=1", "[user]=1", "us\"er=1", "us/er=1", "usér=1",
        "us\u{7F}er=1", "us\u{0}er=1", "us;er=1", " \u{301}user=1", "\u{A0}user=1",
        // Values that hold something else than baggage-octets.
        "user=a b", "user=a\tb", "user=\"ada\"", "user=a\\b", "user=Amélie", "user=\u{7F}", "user=\u{0}", "user=a\r\nb",
        "user=🏮", "user= \u{301}a",
    ]

    @Test("a malformed member is left out, and those around it stay", arguments: BaggageReadingTests.malformedTable)
    func malformed(member: String) {
        #expect(pairs(Baggage(header: "before=1,\(member),after=2")) == ["before=1", "after=2"])
        #expect(Baggage(header: member).members.isEmpty)
    }

    @Test("several headers are one, joined by commas; empty ones are nothing")
    func severalHeaders() {
        let header = ["a=1,b=2", "", "c=3;p", ",", "a=4"].joined(separator: ", ")
        #expect(pairs(Baggage(header: header)) == ["a=1", "b=2", "c=3", "a=4"])
    }

    static let propertyTable: [(header: String, expected: String)] = [
        ("user=ada", ""),
        ("user=ada;ttl=5", "ttl=5"),
        ("user=ada ; ttl=5 ;\tprivate ", "ttl=5;private"),
        ("user=ada;ttl=5;ttl=6", "ttl=5;ttl=6"),
        ("user=ada;ttl=", "ttl="),
        // One that breaks the grammar goes alone.
        ("user=ada;;private", "private"),
        ("user=ada;not a token;private", "private"),
        ("user=ada;ttl=\"5\";private", "private"),
        ("user=ada;=5;private", "private"),
        ("user=ada;ttl=é;private", "private"),
        ("user=ada;ttl= \u{301}5;private", "private"),
    ]

    @Test("properties are kept as they came, but malformed ones", arguments: BaggageReadingTests.propertyTable)
    func properties(header: String, expected: String) throws {
        let baggage = Baggage(header: header)
        #expect(pairs(baggage) == ["user=ada"])
        #expect(baggage.members.map { Array($0.properties.utf8) } == [Array(expected.utf8)])
        #expect(baggage.header() == (expected.isEmpty ? "user=ada" : "user=ada;\(expected)"))
    }
}

@Suite("Baggage that is written")
struct BaggageWritingTests {
    @Test("nothing is no header")
    func nothing() {
        #expect(Baggage().header() == nil)
        #expect(Baggage(header: "user=ada").header(allowing: []) == nil)
    }

    static let writingTable: [(value: String, written: String)] = [
        ("ada", "user=ada"),
        ("", "user="),
        ("a b", "user=a%20b"),
        ("100%", "user=100%25"),
        ("%41", "user=%2541"),
        (",;\"\\", "user=%2C%3B%22%5C"),
        ("a=b", "user=a=b"),
        ("Amélie", "user=Am%C3%A9lie"),
        ("🏮\r\n\0", "user=%F0%9F%8F%AE%0D%0A%00"),
    ]

    @Test(
        "what is no baggage-octet, and the percent sign, is percent-encoded",
        arguments: BaggageWritingTests.writingTable)
    func encoding(value: String, written: String) {
        var baggage = Baggage()
        let isSet = baggage.set(value, for: "user")
        #expect(isSet)
        #expect(baggage.header() == written)
    }

    /// A member as the specification's grammar has it, and as its text has the percent sign.
    private static func isMember(_ text: Substring) -> Bool {
        let member =
            /[!#$%&'*+\-.^_`|~0-9A-Za-z]+=(?:[\x21\x23\x24\x26-\x2B\x2D-\x3A\x3C-\x5B\x5D-\x7E]|%[0-9A-Fa-f]{2})*/
        return text.wholeMatch(of: member.matchingSemantics(.unicodeScalar)) != nil
    }

    /// Up to 20 characters, of which some mean something to the grammar and others take up to four bytes.
    private static func text(using generator: inout SeededGenerator) -> String {
        var text = String.UnicodeScalarView()
        for _ in 0..<Int.random(in: 0...20, using: &generator) {
            let limit: UInt32 = [0x80, 0x80, 0x800, 0x1_0000, 0x11_0000].randomElement(using: &generator) ?? 0x80
            if let scalar = Unicode.Scalar(UInt32.random(in: 0..<limit, using: &generator)) { text.append(scalar) }
        }
        return String(text)
    }

    @Test("any text comes back as it was, and what is written obeys the grammar", arguments: [1, 2, 3] as [UInt64])
    func roundTrip(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<200 {
            var baggage = Baggage()
            let values = (0..<Int.random(in: 1...6, using: &generator)).map { _ in Self.text(using: &generator) }
            for (number, value) in values.enumerated() { baggage.set(value, for: "key\(number)") }
            let header = try #require(baggage.header())
            for member in header.split(separator: ",", omittingEmptySubsequences: false) {
                #expect(Self.isMember(member), "\(member.debugDescription)")
            }
            let read = Baggage(header: header)
            #expect(read.members.map(\.key) == values.indices.map { "key\($0)" })
            #expect(read.members.map { Array($0.value.utf8) } == values.map { Array($0.utf8) })
        }
    }

    @Test("setting a key takes the place of all that it had, its properties too")
    func set() {
        var baggage = Baggage(header: "user=ada;private,b=1,user=grace")
        #expect(baggage.value("user") == "grace")
        let isSet = baggage.set("mary", for: "user")
        #expect(isSet)
        #expect(baggage.value("user") == "mary")
        #expect(baggage.header() == "b=1,user=mary")
    }

    @Test("removing a key takes all that it had, and nothing else")
    func remove() {
        var baggage = Baggage(header: "user=ada,User=1,user=grace")
        baggage.remove("user")
        baggage.remove("absent")
        #expect(baggage.value("user") == nil)
        #expect(baggage.header() == "User=1")
    }

    @Test(
        "a key that is no token is refused", arguments: ["", "us er", "usér", "a=b", "a,b", "a;b", " user", "\u{301}"])
    func badKey(key: String) {
        var baggage = Baggage(header: "b=1")
        let isSet = baggage.set("ada", for: key)
        #expect(!isSet)
        #expect(baggage == Baggage(header: "b=1"))
    }

    @Test("only allowed keys are written, with their properties, in order, compared by case")
    func allowed() {
        let baggage = Baggage(header: "a=1;p,b=2,A=3,c=4,a=5")
        #expect(baggage.header(allowing: ["c", "a", "absent"]) == "a=1;p,c=4,a=5")
        #expect(baggage.header(allowing: ["absent"]) == nil)
        #expect(baggage.header() == "a=1;p,b=2,A=3,c=4,a=5")
    }
}

@Suite("Baggage is bounded")
struct BaggageLimitTests {
    private static func header(members: Int) -> String { (0..<members).map { "k\($0)=v" }.joined(separator: ",") }

    @Test("64 members of 8192 bytes together are kept, as the specification asks")
    func asked() {
        let header = (0..<64).map { number -> String in
            let key = "key\(number)="
            return key + String(repeating: "v", count: (number < 63 ? 127 : 128) - key.utf8.count)
        }.joined(separator: ",")
        #expect(header.utf8.count == 8_192)
        #expect(Baggage(header: header).header() == header)
    }

    @Test("of more than 180 members the first 180 are read")
    func readMembers() {
        #expect(Baggage(header: Self.header(members: 180)).header() == Self.header(members: 180))
        #expect(Baggage(header: Self.header(members: 500)).header() == Self.header(members: 180))
    }

    @Test("the 181st member cannot be set, but one that is there can be changed")
    func setMembers() {
        var baggage = Baggage(header: Self.header(members: 180))
        let before = baggage
        let isAdded = baggage.set("v", for: "more")
        #expect(!isAdded)
        #expect(baggage == before)
        let isChanged = baggage.set("changed", for: "k7")
        #expect(isChanged)
        #expect(baggage.members.count == 180)
        #expect(baggage.value("k7") == "changed")
    }

    @Test("what does not fit into 8192 bytes is not read, counted as it would be written")
    func readBytes() {
        let fits = "k=" + String(repeating: "v", count: 8_190)
        #expect(Baggage(header: fits).header() == fits)
        #expect(Baggage(header: fits + "v").members.isEmpty)
        #expect(pairs(Baggage(header: "a=1,\(fits),b=2")).first == "a=1")
        #expect(Baggage(header: "a=1,\(fits)").header() == "a=1")
        // A percent sign alone grows to three bytes.
        #expect(Baggage(header: "k=" + String(repeating: "%", count: 2_730)).members.count == 1)
        #expect(Baggage(header: "k=" + String(repeating: "%", count: 2_731)).members.isEmpty)
    }

    @Test("what does not fit into 8192 bytes cannot be set, counted as it would be written")
    func setBytes() {
        var baggage = Baggage()
        let isTooLong = !baggage.set(String(repeating: "é", count: 1_366), for: "k")
        #expect(isTooLong)
        #expect(baggage.members.isEmpty)
        let fits = baggage.set(String(repeating: "é", count: 1_365), for: "k")
        #expect(fits)
        #expect(baggage.header()?.utf8.count == 8_192)
        let isFull = !baggage.set("", for: "b")
        #expect(isFull)
        #expect(baggage.members.map(\.key) == ["k"])
        let isReplaced = baggage.set("small", for: "k")
        #expect(isReplaced)
    }
}
