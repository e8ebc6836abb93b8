import CLibPQ
import Glibc
import Lantern
@testable import LanternPostgres
@testable import OrderService
import Testing

@Suite("Placing an order")
struct PlaceOrderTests {
    private let lamp = ProductID()
    private let oil = ProductID()
    private let wick = ProductID()

    // MARK: - The decision

    @Test("an order whose products are all there is accepted, at the prices of the catalogue")
    func accepts() throws {
        let products = [
            self.lamp: try product(self.lamp, name: "Lamp", price: 2_500, stock: 10),
            self.oil: try product(self.oil, name: "Oil", price: 399, stock: 10),
        ]
        let (lines, total) = try Self.accepted(
            [.init(productID: self.oil, quantity: 3), .init(productID: self.lamp, quantity: 1)], products
        )
        #expect(
            lines == [
                OrderLine(
                    productID: self.oil, name: "Oil", quantity: 3, unitPrice: Money(amount: 399, currency: "EUR")),
                OrderLine(
                    productID: self.lamp, name: "Lamp", quantity: 1, unitPrice: Money(amount: 2_500, currency: "EUR")),
            ]
        )
        #expect(total == Money(amount: 3_697, currency: "EUR"))
    }

    @Test(
        "the total is the sum of price times quantity, to the last unit",
        arguments: [
            (0, 1, 0), (1, 1, 1), (0, 1_000_000, 0), (199, 3, 597), (1, 1_000_000, 1_000_000),
            (1_000_000_000_000, 1_000_000, 1_000_000_000_000_000_000), (Int64.max, 1, Int64.max),
        ] as [(Int64, Int64, Int64)]
    )
    func totals(price: Int64, quantity: Int64, total: Int64) throws {
        let products = [self.lamp: try product(self.lamp, price: price, stock: 1_000_000)]
        let accepted = try Self.accepted([.init(productID: self.lamp, quantity: quantity)], products)
        #expect(accepted.total == Money(amount: total, currency: "EUR"))
    }

    @Test(
        "the last piece can be bought, the one after it cannot",
        arguments: [(1, true), (10, true), (11, false)] as [(Int64, Bool)])
    func stock(quantity: Int64, isEnough: Bool) throws {
        let products = [self.lamp: try product(self.lamp, stock: 10)]
        let decision = try PlaceOrder.decide([.init(productID: self.lamp, quantity: quantity)], products: products)
        switch decision {
        case .accept: #expect(isEnough)
        case .outOfStock: #expect(!isEnough)
        }
    }

    @Test("too little of anything refuses the whole order and names every such line, with what is left")
    func outOfStock() throws {
        let products = [
            self.lamp: try product(self.lamp, stock: 4), self.oil: try product(self.oil, stock: 100),
            self.wick: try product(self.wick, stock: 0),
        ]
        let lines: [PlaceOrder.Line] = [
            .init(productID: self.lamp, quantity: 5), .init(productID: self.oil, quantity: 5),
            .init(productID: self.wick, quantity: 1),
        ]
        guard case .outOfStock(let missing) = try PlaceOrder.decide(lines, products: products) else {
            Issue.record("the order was accepted")
            return
        }
        #expect(missing.map(\.index) == [0, 2])
        #expect(missing.map(\.line) == [lines[0], lines[2]])
        #expect(missing.map(\.available) == [4, 0])
    }

    @Test("a product that does not exist is told by its line")
    func unknownProduct() throws {
        let products = [self.lamp: try product(self.lamp)]
        let problem = try #require(throws: Problem.self) {
            try PlaceOrder.decide(
                [.init(productID: self.lamp, quantity: 1), .init(productID: self.oil, quantity: 1)], products: products
            )
        }
        #expect(problem.code == "validation_failed")
        #expect(problem.fields.map(\.field) == ["lines[1].product_id"])
    }

    @Test("an order has one currency, that of its first product")
    func mixedCurrencies() throws {
        let products = [
            self.lamp: try product(self.lamp, currency: "EUR"), self.oil: try product(self.oil, currency: "CHF"),
            self.wick: try product(self.wick, currency: "EUR"),
        ]
        let problem = try #require(throws: Problem.self) {
            try PlaceOrder.decide(
                [self.lamp, self.oil, self.wick].map { .init(productID: $0, quantity: 1) }, products: products
            )
        }
        #expect(problem.code == "validation_failed")
        #expect(problem.fields.map(\.field) == ["lines[1].product_id"])
    }

    @Test("an order in another currency than the euro is as good")
    func otherCurrency() throws {
        let products = [self.lamp: try product(self.lamp, price: 980, currency: "JPY")]
        #expect(
            try Self.accepted([.init(productID: self.lamp, quantity: 2)], products).total
                == Money(amount: 1_960, currency: "JPY")
        )
    }

    @Test("a line whose amount nobody can count is refused, not counted wrongly")
    func productOverflow() throws {
        let products = [self.lamp: try product(self.lamp, price: .max / 2, stock: 10)]
        let problem = try #require(throws: Problem.self) {
            try PlaceOrder.decide([.init(productID: self.lamp, quantity: 3)], products: products)
        }
        #expect(problem.fields.map(\.field) == ["lines[0].quantity"])
    }

    @Test("so is the line that makes the sum too large")
    func sumOverflow() throws {
        let products = [
            self.lamp: try product(self.lamp, price: .max - 10, stock: 10),
            self.oil: try product(self.oil, price: 6, stock: 10),
        ]
        let problem = try #require(throws: Problem.self) {
            try PlaceOrder.decide(
                [.init(productID: self.lamp, quantity: 1), .init(productID: self.oil, quantity: 2)], products: products
            )
        }
        #expect(problem.fields.map(\.field) == ["lines[1].quantity"])
    }

    @Test("all faults are told at once, and before what is out of stock")
    func allFaults() throws {
        let products = [
            self.lamp: try product(self.lamp, stock: 0), self.oil: try product(self.oil, currency: "CHF"),
        ]
        let problem = try #require(throws: Problem.self) {
            try PlaceOrder.decide(
                [self.lamp, self.wick, self.oil].map { .init(productID: $0, quantity: 1) }, products: products
            )
        }
        #expect(problem.fields.map(\.field) == ["lines[1].product_id", "lines[2].product_id"])
    }

    // MARK: - What was asked for

    @Test("lines of one product become one, at the place of the first")
    func merges() throws {
        let lines = try Self.read([(self.lamp, 1), (self.oil, 2), (self.lamp, 3), (self.lamp, 1)])
        #expect(lines == [.init(productID: self.lamp, quantity: 5), .init(productID: self.oil, quantity: 2)])
    }

    @Test("what several lines ask of one product counts together against its stock")
    func mergedStock() throws {
        let lines = try Self.read([(self.lamp, 3), (self.lamp, 3)])
        guard
            case .outOfStock(let missing) = try PlaceOrder.decide(
                lines, products: [self.lamp: try product(self.lamp, stock: 5)])
        else {
            Issue.record("more was sold than there is")
            return
        }
        #expect(missing.map(\.line.quantity) == [6])
    }

    @Test("a fault names the line that the client wrote, though lines before it were merged")
    func namesOriginalLine() throws {
        let lines = try Self.read([(self.lamp, 1), (self.lamp, 1), (self.oil, 9)])
        let products = [self.lamp: try product(self.lamp), self.oil: try product(self.oil, stock: 3)]
        guard case .outOfStock(let missing) = try PlaceOrder.decide(lines, products: products) else {
            Issue.record("the order was accepted")
            return
        }
        #expect(missing.map(\.index) == [2])
    }

    @Test("an order has one to a hundred lines", arguments: [(0, false), (1, true), (100, true), (101, false)])
    func lineCount(count: Int, isValid: Bool) throws {
        let asked = (0..<count).map { _ in (ProductID(), Int64(1)) }
        if isValid {
            #expect(try Self.read(asked).map(\.productID) == asked.map(\.0))
        } else {
            let problem = try #require(throws: Problem.self) { try Self.read(asked) }
            #expect(problem.fields.map(\.field) == ["lines"])
        }
    }

    @Test(
        "a quantity is from one to a million",
        arguments: [(-1, false), (0, false), (1, true), (1_000_000, true), (1_000_001, false)] as [(Int64, Bool)])
    func quantity(quantity: Int64, isValid: Bool) throws {
        if isValid {
            #expect(try Self.read([(self.lamp, quantity)]) == [.init(productID: self.lamp, quantity: quantity)])
        } else {
            let problem = try #require(throws: Problem.self) { try Self.read([(self.lamp, quantity)]) }
            #expect(problem.code == "validation_failed")
            #expect(problem.fields.map(\.field) == ["lines[0].quantity"])
        }
    }

    @Test(
        "every fault of every line is told at once",
        arguments: [
            (#"{}"#, ["lines"]), (#"{"lines":null}"#, ["lines"]), (#"{"lines":{}}"#, ["lines"]),
            (#"{"lines":[7]}"#, ["lines[0]"]),
            (#"{"lines":[{}]}"#, ["lines[0].product_id", "lines[0].quantity"]),
            (
                #"{"lines":[{"product_id":"lamp","quantity":1.5},{"product_id":1,"quantity":"2"}]}"#,
                ["lines[0].product_id", "lines[0].quantity", "lines[1].product_id", "lines[1].quantity"]
            ),
        ]
    )
    func malformed(json: String, faults: [String]) throws {
        var fields = try Self.fields(json)
        do {
            _ = try PlaceOrder.read(&fields)
            Issue.record("the order was read")
        } catch let problem as Problem {
            #expect(problem.fields.map(\.field) == faults)
        }
    }

    // MARK: - Helpers

    private static func accepted(
        _ lines: [PlaceOrder.Line], _ products: [ProductID: Product]
    ) throws -> (lines: [OrderLine], total: Money) {
        let decision = try PlaceOrder.decide(lines, products: products)
        guard case .accept(let lines, let total) = decision else { throw Refused(decision: decision) }
        return (lines, total)
    }

    private struct Refused: Error {
        var decision: PlaceOrder.Decision
    }

    private static func fields(_ json: String) throws -> RequestFields {
        guard case .object(let members) = try JSONValue.parse(json.utf8) else { throw Problem.invalid([]) }
        return RequestFields(members)
    }

    private static func read(_ lines: [(ProductID, Int64)]) throws -> [PlaceOrder.Line] {
        let lines = lines.map { #"{"product_id":"\#($0)","quantity":\#($1)}"# }.joined(separator: ",")
        var fields = try Self.fields(#"{"lines":[\#(lines)]}"#)
        return try PlaceOrder.read(&fields)
    }
}

/// A product as it comes from the database, and it comes from nowhere else: libpq makes the row without a server.
private func product(
    _ id: ProductID, name: String = "Lamp", price: Int64 = 2_500, currency: String = "EUR", stock: Int64 = 10
) throws -> Product {
    let cells: KeyValuePairs = [
        "id": id.description, "vendor_id": "vendor-1", "name": name, "description": "", "category": "",
        "price": "\(price)", "currency": currency, "stock": "\(stock)", "created_at": "2026-01-31 23:59:59.000001+00",
        "updated_at": "2026-01-31 23:59:59.000001+00", "version": "1",
    ]
    let raw = try #require(PQmakeEmptyPGresult(nil, PGRES_TUPLES_OK))
    let names = cells.map { strdup($0.key) }
    defer { names.forEach { free($0) } }
    var columns = names.map {
        PGresAttDesc(name: $0, tableid: 0, columnid: 0, format: 0, typid: 25, typlen: -1, atttypmod: -1)
    }
    var made = PQsetResultAttrs(raw, Int32(columns.count), &columns)
    for (index, cell) in cells.enumerated() where made != 0 {
        var value = Array(cell.value.utf8CString)
        made = PQsetvalue(raw, 0, Int32(index), &value, Int32(value.count - 1))
    }
    try #require(made != 0)
    return try Product(PostgresRow(result: PostgresResult(raw: raw), index: 0))
}
