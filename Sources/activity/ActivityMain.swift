import ActivityService
import Lantern

@main
enum ActivityMain {
    static func main() async { await Activity.main() }
}
