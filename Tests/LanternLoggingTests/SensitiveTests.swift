import Foundation
import Logging
import Testing

@testable import LanternLogging

private let secret = "hunter2"

/// What a program has that holds a secret.
private struct Login: Sendable, Codable, Equatable {
    var user = "ada"
    var password = Sensitive(secret)
}

private enum Attempt {
    case refused(Login)
}

private struct Refused: Error {
    var login = Login()
}

@Suite("A sensitive value")
struct SensitiveTests {
    @Test("however it is turned into text, the mask comes out")
    func text() {
        let value = Sensitive(secret)
        #expect("\(value)" == "***")
        #expect(String(describing: value) == "***")
        #expect(String(reflecting: value) == "***")
        #expect(value.description == "***")
        #expect(value.debugDescription == "***")
        #expect("\(value.playgroundDescription)" == "***")
    }

    @Test("print, debugPrint and dump write the mask")
    func printed() {
        var printed = ""
        print(Sensitive(secret), to: &printed)
        debugPrint(Sensitive(secret), to: &printed)
        dump(Sensitive(secret), to: &printed)
        #expect(printed == "***\n***\n- ***\n")
    }

    @Test("a mirror sees nothing of it")
    func mirror() {
        let mirror = Mirror(reflecting: Sensitive(secret))
        #expect(mirror.children.isEmpty)
        #expect(mirror.descendant("unmasked") == nil)
        #expect(Mirror(reflecting: Login()).descendant("password", "unmasked") == nil)
    }

    @Test("what holds it shows the mask in its place")
    func within() {
        let holders: [Any] = [
            Login(), Attempt.refused(Login()), Refused(), [Sensitive(secret)], ["password": Sensitive(secret)],
            [Sensitive(secret): 1], Set([Sensitive(secret)]), Optional(Sensitive(secret)) as Any,
            (Sensitive(secret), 1), Sensitive(Sensitive(secret)), Sensitive([secret, secret]), Sensitive(Login()),
            Result<Sensitive<String>, any Error>.success(Sensitive(secret)),
        ]
        for holder in holders {
            var texts = ["\(holder)", String(describing: holder), String(reflecting: holder), ""]
            dump(holder, to: &texts[3])
            for text in texts {
                #expect(!text.contains(secret))
                #expect(text.contains("***"))
            }
        }
    }

    @Test("the value itself comes out where it is asked for")
    func unmasked() {
        #expect(Sensitive(secret).unmasked == secret)
        #expect(Sensitive(7).unmasked == 7)
    }

    @Test("what is made of it is as sensitive, and an error on the way is thrown on")
    func map() throws {
        let count = Sensitive(secret).map(\.count)
        #expect(count.unmasked == 7)
        #expect("\(count)" == "***")
        #expect(throws: Refused.self) { try Sensitive(secret).map { _ throws -> Int in throw Refused() } }
    }

    @Test("two are equal, and hashed alike, where their values are")
    func equality() {
        #expect(Sensitive(secret) == Sensitive(secret))
        #expect(Sensitive(secret) != Sensitive("hunter3"))
        #expect(Set([Sensitive(secret), Sensitive(secret), Sensitive("hunter3")]).count == 2)
    }

    @Test("it is encoded as the mask, whatever it holds")
    func encoded() throws {
        struct Body: Encodable {
            var user = "ada"
            var password = Sensitive(secret)
            var pin = Sensitive(1_234)
            var codes = [Sensitive(secret)]
            var none: Sensitive<String>?
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        let text = String(decoding: try encoder.encode(Body()), as: UTF8.self)
        #expect(text == #"{"codes":["***"],"password":"***","pin":"***","user":"ada"}"#)
        #expect(String(decoding: try encoder.encode(Sensitive(secret)), as: UTF8.self) == "\"***\"")
    }

    @Test("it is decoded as the value")
    func decoded() throws {
        let login = try JSONDecoder().decode(Login.self, from: Data(#"{"user":"ada","password":"hunter2"}"#.utf8))
        #expect(login.password.unmasked == secret)
        let numbers = try JSONDecoder().decode([Sensitive<Int>].self, from: Data("[1,2]".utf8))
        #expect(numbers.map(\.unmasked) == [1, 2])
        let none = try JSONDecoder().decode([Sensitive<String>?].self, from: Data("[null]".utf8))
        #expect(none == [nil])
    }

    @Test("the error of a value that cannot be decoded does not show it")
    func undecodable() {
        enum Role: String, Decodable { case admin }
        for type in [Sensitive<Role>.self, Sensitive<UUID>.self] as [any Decodable.Type] {
            do {
                _ = try JSONDecoder().decode(type, from: Data("\"hunter2\"".utf8))
                Issue.record("\(type) was decoded")
            } catch {
                #expect(!"\(error)".contains(secret))
                #expect(!String(reflecting: error).contains(secret))
            }
        }
        do {
            _ = try JSONDecoder().decode(Sensitive<Int8>.self, from: Data("4111".utf8))
            Issue.record("a number that does not fit was decoded")
        } catch {
            #expect(!"\(error)".contains("4111"))
        }
    }

    @Test("no line shows it, as whatever metadata it comes", arguments: LogOutput.Format.allCases)
    func metadata(format: LogOutput.Format) throws {
        let transcript = Transcript(format: format)
        let value = Sensitive(secret)
        let forms: [Logger.MetadataValue] = [
            .stringConvertible(value), "\(value)", "\(Login())", "\(String(describing: Optional(value)))",
            ["list", .stringConvertible(value)],
            ["name": .stringConvertible(value)], .attributed(value, attributes: [Sensitivity.public]),
            .stringConvertible(Sensitive(1_234)),
        ]
        for form in forms {
            transcript.logger.info("login of \(value)", error: Refused(), metadata: ["name": form])
        }
        #expect(transcript.sink.lines.count == forms.count)
        for line in transcript.sink.lines {
            #expect(!line.contains(secret))
            #expect(!line.contains("1234"))
            #expect(line.contains("***"))
        }
    }

    @Test("as a metadata value it is the mask and nothing else")
    func metadataValue() throws {
        for form in [Logger.MetadataValue.stringConvertible(Sensitive("x")), "\(Sensitive("x"))"] {
            let transcript = Transcript()
            transcript.logger.info("login", metadata: ["name": form])
            #expect(try transcript.object()["name"] as? String == "***")
        }
    }
}
