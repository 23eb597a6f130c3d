/* Position embeddings of a vision transformer, for another image size than they were trained at. */
#ifndef NN_POSITIONS_H
#define NN_POSITIONS_H

/* Bicubic interpolation of a grid of embeddings, corners on corners, as torchvision's interpolate_embeddings does it
 * (Keys 1981 with a = -0.75; beyond the border the border's value repeats).
 *   out [1 + to * to][width]      the new embeddings; row 0, of the class token, is copied
 *   in  [1 + from * from][width]  borrowed; may not overlap `out`
 * `from` and `to` are the patches along a side of the image (14 for 224 pixels), 1 or more. Local. */
void positions_resize(float *out, int to, const float *in, int from, int width);

#endif
