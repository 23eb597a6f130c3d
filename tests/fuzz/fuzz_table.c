/* labels.csv: the table, and the manifest made of it. */
#include "base/arena.h"
#include "image/manifest.h"
#include "manifests.h"

const size_t fuzz_memory = 1 << 20, fuzz_memory_per_byte = 4096;

void fuzz_bytes(struct arena *arena, const uint8_t *bytes, size_t size)
{
    fuzz_file("labels.csv", bytes, size);
    fuzz_manifest(arena, "labels_csv", "ham", "");
    fuzz_manifest(arena, "labels_csv", "ham", "patient");
}

#define SEED(name, text) add(name, text, sizeof text - 1)

void fuzz_seeds(struct arena *arena, void (*add)(const char *name, const void *bytes, size_t size))
{
    (void)arena;
    SEED("single",
         "path,label,split,patient,age\na.png,nevus,train,p1,50\n\"b,\"\"c.png\",mole,val,p2,\nd.png,mole,test,,"
         "1e3\n");
    SEED("multi",
         "\xEF\xBB\xBFpath,label:Edema,label:Fracture,report\r\na.png,1,-1,\"two\r\nlines\"\r\nb.png,,0,x\r\n");
    SEED("states", "id,path,A,B,patient\n1,a.png,1,0,p\n2,b.png,-1,,p\n");
}
