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
    SEED("semicolons",
         "sep=;\r\n;Path;dx;Split;age\r\n1;a.png;n\xE6vus;Training;\"40,5\"\r\n2;b;mole;TEST;NA\r\n;;;;\r\n");
    SEED("wide", "\xFF\xFEi\0d\0,\0l\0a\0b\0e\0l\0\n\0"
                 "1\0,\0\x3D\xD8\x00\xDE\n\0");
    SEED("packed", "\x1F\x8B\x08\x00\x00\x00\x00\x00\x00\x03\x2B\x48\x2C\xC9\xD0\xC9\x49\x4C\x4A\xCD\xE1\x4A\xD4\xA9"
                   "\xE0\x02\x00\xFF\xF1\x33\x53\x0F\x00\x00\x00");
    SEED("lists", "image,label,study\n./a.png,Edema|Mass,50414267\nx\\b.png,Mass,12345678901234567890\n");
    SEED("one_hot", "path,A,B\na,1.0,0\nb,False,True\n");
    SEED("states", "id,path,A,B,patient\n1,a.png,1,0,p\n2,b.png,-1,,p\n");
}
