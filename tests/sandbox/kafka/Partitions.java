import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.Base64;
import org.apache.kafka.clients.producer.internals.BuiltInPartitioner;
import org.apache.kafka.common.utils.Utils;

/** Reads "<key in Base64> <partitions>" lines and answers each with "<murmur2> <partition>", by Kafka's own client. */
public final class Partitions {
    public static void main(String[] arguments) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        StringBuilder answers = new StringBuilder();
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String[] words = line.split(" ", -1);
            byte[] key = Base64.getDecoder().decode(words[0]);
            int partition = BuiltInPartitioner.partitionForKey(key, Integer.parseInt(words[1]));
            answers.append(Utils.murmur2(key)).append(' ').append(partition).append('\n');
        }
        System.out.print(answers);
    }
}
