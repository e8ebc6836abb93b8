import Lantern

/// The rules of placing an order, over what was asked and what is there: no I/O.
enum PlaceOrder {
    /// A line as it was asked for.
    struct Line: Equatable, Sendable {
        var productID: ProductID
        var quantity: Int64
        /// Where it stands in what the client sent; `nil` where it was not merged and stands where it stands.
        var position: Int?

        /// Two lines are the same when they ask for the same.
        static func == (left: Line, right: Line) -> Bool {
            left.productID == right.productID && left.quantity == right.quantity
        }
    }

    static let maximumLines = 100
    static let maximumQuantity: Int64 = 1_000_000

    /// Reads `{lines: [{product_id, quantity}]}`; lines of one product become one.
    static func read(_ fields: inout RequestFields) throws -> [Line] {
        let lines = fields.objects("lines", count: 1...self.maximumLines) { line -> Line? in
            let product = line.parsed("product_id", "a product's id (a UUID)", ProductID.init)
            let quantity = line.integer("quantity", in: 1...self.maximumQuantity)
            guard let product, let quantity else { return nil }
            return Line(productID: product, quantity: quantity)
        }
        var merged: [Line] = []
        let valid: [Line] = try fields.valid(lines)
        for (position, line) in valid.enumerated() {
            if let index = merged.firstIndex(where: { $0.productID == line.productID }) {
                merged[index].quantity += line.quantity
            } else {
                merged.append(Line(productID: line.productID, quantity: line.quantity, position: position))
            }
        }
        return merged
    }

    /// What comes of it.
    enum Decision: Sendable {
        case accept(lines: [OrderLine], total: Money)
        /// Too little of these products, by index of their lines.
        case outOfStock([(index: Int, line: Line, available: Int64)])
    }

    /// - Parameter products: The products of the lines, locked.
    /// - Throws: ``Problem`` 422 where a product does not exist, currencies differ, or the total is too large.
    static func decide(_ lines: [Line], products: [ProductID: Product]) throws(Problem) -> Decision {
        var faults: [Problem.Field] = []
        var missing: [(index: Int, line: Line, available: Int64)] = []
        var accepted: [OrderLine] = []
        var total = Money(amount: 0, currency: "")
        for (index, line) in lines.enumerated() {
            let position = line.position ?? index
            guard let product = products[line.productID] else {
                faults.append(Problem.Field("lines[\(position)].product_id", "there is no such product"))
                continue
            }
            if total.currency.isEmpty { total.currency = product.price.currency }
            if product.price.currency != total.currency {
                faults.append(
                    Problem.Field("lines[\(position)].product_id", "all products of an order have one currency"))
                continue
            }
            if product.stock < line.quantity { missing.append((position, line, product.stock)) }
            let (amount, tooLarge) = product.price.amount.multipliedReportingOverflow(by: line.quantity)
            let (sum, overflow) = total.amount.addingReportingOverflow(amount)
            guard !tooLarge, !overflow else {
                faults.append(Problem.Field("lines[\(position)].quantity", "makes the total too large"))
                continue
            }
            total.amount = sum
            accepted.append(
                OrderLine(productID: product.id, name: product.name, quantity: line.quantity, unitPrice: product.price)
            )
        }
        guard faults.isEmpty else { throw Problem.invalid(faults) }
        return missing.isEmpty ? .accept(lines: accepted, total: total) : .outOfStock(missing)
    }
}
